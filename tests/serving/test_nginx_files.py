"""The files by which nginx decides what to pass on; without nginx."""

import os
from pathlib import Path
from typing import Any, cast

from falconet.serving.gateway import Gateway
from falconet.serving.limits import Limits
from falconet.serving.routes import Routes
from falconet.serving.split import Split


def test_files_of_nginx_do_not_grow_old(tmp_path: Path) -> None:
    """systemd-tmpfiles removes files and empty folders by their age."""
    folder, runtime = tmp_path / "gateway", tmp_path / "runtime"
    for name in ("models", "trials", "share", "to", "body"):
        (runtime / name).mkdir(parents=True)
    folder.mkdir()
    (runtime / "nginx.pid").touch()
    gateway = Gateway(folder, runtime, 1, "pets", Limits(), cast(Any, None))
    splits = {"pets": Split("2.0", 10), "cats": Split()}
    gateway.follow(splits)
    assert Routes.load(folder) == Routes("pets", splits)
    paths = [runtime, *runtime.rglob("*")]
    marks = [runtime / name for name in ("models/pets", "models/cats", "trials/pets")]
    assert {*marks, runtime / "share/pets/99", runtime / "to/2.0", runtime / "body"} <= {*paths}
    assert not (runtime / "trials/cats").exists()
    for path in paths:
        os.utime(path, (0, 0), follow_symlinks=False)
    gateway.follow(splits)
    assert all(min(s.st_atime, s.st_mtime) > 0 for s in map(os.lstat, paths))
    # Marks that were removed come back.
    for mark in marks:
        mark.unlink()
    gateway.follow(splits)
    assert all(mark.exists() for mark in marks)
