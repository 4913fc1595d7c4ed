"""An archive to score with, and images of all kinds."""

import shutil
import sys
from pathlib import Path

import pytest

from falconet.handler import ENTRY
from falconet.model.archive import archive
from falconet.scoring.job import Job

COMMAND = (sys.executable, "-m", "falconet.cli", "score")


def job_of(archive: Path, source: "Path | str", output: "Path | str") -> Job:
    """A job of the included model."""
    return Job.of(archive, "cifar10", "1.0", str(source), str(output))


@pytest.fixture(scope="session")
def cifar(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model's archive, as the server has it."""
    made = tmp_path_factory.mktemp("store") / "cifar10.mar"
    archive(exported, made, handler=ENTRY)
    return made


@pytest.fixture
def folder(samples: list[Path], images: Path, tmp_path: Path) -> Path:
    """16 images in two subfolders, and three files that are none."""
    made = tmp_path / "photos"
    for name in ("a", "b"):
        (made / name).mkdir(parents=True)
    for i, path in enumerate(samples):
        shutil.copy(path, made / ("a" if i < 8 else "b"))
    (made / "a" / "readme.txt").write_text("no image")
    (made / "b" / "empty.png").touch()
    (made / "b" / "truncated.jpg").write_bytes((images / "ship.jpg").read_bytes()[:700])
    (made / ".hidden").write_text("is left out")
    return made
