"""The files by which nginx decides what to pass on; without nginx."""

import os
from pathlib import Path
from typing import Any, cast

from falconet.serving import nginx_files
from falconet.serving.gateway import Gateway
from falconet.serving.limits import Limits
from falconet.serving.routes import Routes
from falconet.serving.split import Split


def test_files_of_nginx_do_not_grow_old(tmp_path: Path) -> None:
    """systemd-tmpfiles removes files and empty folders by their age."""
    folder, runtime = tmp_path / "gateway", tmp_path / "runtime"
    for name in ("models", "ordinary", "trials", "share", "to", "body"):
        (runtime / name).mkdir(parents=True)
    folder.mkdir()
    (runtime / "nginx.pid").touch()
    gateway = Gateway(folder, runtime, 1, "pets", Limits(), cast(Any, None))
    splits = {"pets": Split("2.0", 10), "cats": Split()}
    gateway.set_routes(splits)
    assert Routes.load(folder) == Routes("pets", splits)
    paths = [runtime, *runtime.rglob("*")]
    marks = [
        runtime / name for name in ("models/pets", "models/cats", "trials/pets", "ordinary/cats")
    ]
    assert {*marks, runtime / "share/pets/99", runtime / "to/2.0", runtime / "body"} <= {*paths}
    assert not (runtime / "trials/cats").exists()
    assert not (runtime / "ordinary/pets").exists()
    for path in paths:
        os.utime(path, (0, 0), follow_symlinks=False)
    gateway.set_routes(splits)
    assert all(min(s.st_atime, s.st_mtime) > 0 for s in map(os.lstat, paths))
    # Marks that were removed come back.
    for mark in marks:
        mark.unlink()
    gateway.set_routes(splits)
    assert all(mark.exists() for mark in marks)


def test_only_an_ordinary_model_is_marked_so(tmp_path: Path) -> None:
    """Nginx then looks at nothing else of it: neither at its trial nor at its level."""
    nginx_files.create(tmp_path, {"pets": Split()})
    mark = tmp_path / "ordinary/pets"
    assert mark.exists()
    nginx_files.write_level(tmp_path, "pets", 2)
    assert not mark.exists()
    nginx_files.write_level(tmp_path, "pets", 0)
    assert mark.exists()
    trial = {"pets": Split("2.0", 10)}
    nginx_files.write_routes(tmp_path, {"pets": Split()}, trial)
    assert not mark.exists()
    nginx_files.write_level(tmp_path, "pets", 0)
    assert not mark.exists()
    nginx_files.write_routes(tmp_path, trial, {"pets": Split()})
    assert mark.exists()
    nginx_files.write_routes(tmp_path, {"pets": Split()}, {})
    assert not mark.exists()
