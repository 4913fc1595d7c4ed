"""What README.md shows is there, and works."""

import re
from pathlib import Path

import numpy as np
import pytest

from falconet.cli.main import COMMANDS
from falconet.model.spec import Spec


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text()


def block(readme: str, language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)
    return str(found)


def test_the_spec_is_one(readme: str) -> None:
    assert Spec.from_json(block(readme, "json")).classes == ("cat", "dog")


def test_the_python_runs(readme: str) -> None:
    random = np.random.default_rng(0)
    names = {
        "image": random.integers(0, 256, (375, 500, 3), np.uint8),
        "another": random.integers(0, 256, (300, 200, 3), np.uint8),
    }
    exec(block(readme, "python"), names)
    assert names["small"].shape == (256, 341, 3)
    assert names["batch"].shape == (2, 3, 224, 224)


def test_the_commands_and_targets_exist(readme: str, repository: Path) -> None:
    commands = set(re.findall(r"`falconet ([a-z]+)", readme))
    assert {"predict", "serve", "train", "evaluate", "export"} <= commands <= set(COMMANDS)
    targets = set(re.findall(r"make ([a-z]+)", readme))
    makefile = (repository / "Makefile").read_text()
    assert {"serve", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}: .*## ", makefile, re.MULTILINE), target


def test_the_files_exist(readme: str, repository: Path) -> None:
    links = set(re.findall(r"\]\(([^)]+)\)", readme))
    curled = set(re.findall(r"image=@(tests/\S+)", readme))
    assert len(links) >= 4
    assert len(curled) == 1
    for name in links | curled:
        path, _, section = name.partition("#")
        assert (repository / path).exists(), name
        if section:
            headings = re.findall(r"^#+ (.+)$", (repository / path).read_text(), re.M)
            assert section in {heading.lower().replace(" ", "-") for heading in headings}, name
    # The image shown is the one that `make serve` names.
    assert f"--image {curled.pop()}" in (repository / "Makefile").read_text()
