"""Which archives a server is started with."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from falconet.serving.errors import ServerError
from falconet.serving.store import FOLDER, MANIFEST, archives_to_serve

Make = Callable[..., Path]


def refused(folder: Path, archives: list[Path], message: str) -> None:
    """Before anything is copied."""
    with pytest.raises(ServerError, match=message):
        archives_to_serve(folder, archives)
    assert not (folder / FOLDER).exists()


def test_a_renamed_archive_is_refused(make: Make, tmp_path: Path) -> None:
    """Served as ``cats`` it would not be what a deploy of ``pets`` replaces."""
    made, renamed = make("1.0"), tmp_path / "cats.mar"
    shutil.copy(made, renamed)
    message = (
        r"cats\.mar holds the model pets: rename the file to pets\.mar, or pack it with: "
        r"falconet archive --output .*cats\.mar"
    )
    refused(tmp_path, [made, renamed], message)
    assert list(archives_to_serve(tmp_path, [made]).models) == ["pets"]


def test_a_model_whose_name_cannot_be_in_a_path_is_refused(tmp_path: Path) -> None:
    for name in ("my pets", "-pets", "../pets"):
        path = tmp_path / f"{Path(name).name}.mar"
        with zipfile.ZipFile(path, "w") as mar:
            manifest = {"model": {"modelName": name, "modelVersion": "1.0"}}
            mar.writestr(MANIFEST, json.dumps(manifest))
        refused(tmp_path, [path], f"expected a model's name of letters.* got '{name}'")
