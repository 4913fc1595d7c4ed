"""Files by which nginx knows, at each request, what to pass on, without being told anew."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .clients import file_name
from .configuration import CONF
from .metadata import index
from .split import Split

PAGE = Path(__file__).parent / "page"
BUCKETS = 100  # requests are in one each, by chance
# Folders that nginx.conf looks at: a file for each model that requests are passed on for, one for
# each with a version on trial; for those a link for each bucket, and where the links end.
MODELS, TRIALS, SHARE, TO = "models", "trials", "share", "to"
# A file for each of those models that has no trial and level 0, so that nginx need not look at the
# other files: each look takes time from the answers, most of all where requests are refused.
ORDINARY = "ordinary"
METADATA = "metadata"  # a folder for each model, with what is answered about it
# A folder for each model, with a file whose name is the level of its limits; none is level 0.
LEVELS = "levels"
# A link for each API key, to a folder beside it that is called as its client is: nginx reads each
# part of the path that the link leads to.
KEYS, CLIENT = "keys", "c"


def create(runtime: Path, splits: Mapping[str, Split]) -> None:
    """Make the folders, for these models.

    Args:
        runtime: the folder that they are in.
        splits: of each model, by its name.
    """
    for name in (MODELS, ORDINARY, TRIALS, SHARE, TO, METADATA, LEVELS, KEYS):
        _folder(runtime / name)
    write_routes(runtime, {}, splits)


def write_routes(runtime: Path, before: Mapping[str, Split], splits: Mapping[str, Split]) -> None:
    """Have nginx find what is to be passed on instead of what was."""
    for model in before.keys() - splits.keys():
        (runtime / ORDINARY / model).unlink(missing_ok=True)
        (runtime / MODELS / model).unlink(missing_ok=True)
        (runtime / TRIALS / model).unlink(missing_ok=True)
    for model, split in splits.items():
        if split != before.get(model, Split()):
            _share(runtime, model, split)
        (runtime / MODELS / model).touch()
        _mark_ordinary(runtime, model)


def write_keys(runtime: Path, clients: Mapping[str, str]) -> None:
    """Have nginx know these clients, by key, and no others."""
    names = {file_name(key): name for key, name in clients.items()}
    keys = runtime / KEYS
    for file, name in names.items():
        target = Path(CLIENT + name)
        for folder in (*reversed(target.parents[:-1]), target):
            _folder(keys / folder)
        _link(keys / file, target)
    # Only now, so that none is lost where one of the new ones cannot be written.
    for path in keys.iterdir():
        if path.is_symlink() and path.name not in names:
            path.unlink()


def write_metadata(runtime: Path, metadata: Mapping[str, Mapping[str, Any]]) -> None:
    """Write what is answered about each model, or ``MODEL/VERSION``, and nothing about others."""
    wanted = {}
    for name, content in metadata.items():
        model, _, version = name.partition("/")
        wanted[runtime / METADATA / model / f"{version or 'model'}.json"] = json.dumps(content)
    for path in (runtime / METADATA).glob("*/*.json"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        _folder(path.parent)
        _write(path, text)


def write_index(runtime: Path, default: str, metadata: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the list of models, each with its versions, the current one first."""
    _write(runtime / "index.json", json.dumps(index(default, metadata)))


def copy_page(runtime: Path) -> None:
    """Put the page, and the description of the interface, where nginx can read them."""
    copied = runtime / "page"
    _folder(copied)
    for path in PAGE.iterdir():
        _write(copied / path.name, path.read_text())
    description = yaml.safe_load((CONF / "openapi.yaml").read_text())
    description["servers"] = [{"url": "/"}]
    _write(runtime / "openapi.json", json.dumps(description))


def write_level(runtime: Path, model: str, level: int) -> None:
    """Have nginx limit the requests for a model by this level."""
    folder = runtime / LEVELS / model
    wanted = {str(level)} - {"0"}
    if not folder.exists() and not wanted:
        return
    _folder(folder)
    for name in wanted:
        (folder / name).touch()
    for path in folder.iterdir():
        if path.name not in wanted:
            path.unlink()
    _mark_ordinary(runtime, model)


def touch_all(runtime: Path, splits: Mapping[str, Split]) -> None:
    """Give all of nginx's files the current time, and write again the marks that are missing.

    systemd-tmpfiles removes what is older than 10 days from /tmp, empty folders included.
    """
    for model, split in splits.items():
        (runtime / MODELS / model).touch()
        if split.percent:
            (runtime / TRIALS / model).touch()
        _mark_ordinary(runtime, model)
    for folder, folders, files in os.walk(runtime):
        for name in (".", *folders, *files):
            with contextlib.suppress(OSError):  # a request's body that nginx has just removed
                os.utime(Path(folder, name), follow_symlinks=False)


def _mark_ordinary(runtime: Path, model: str) -> None:
    """Write or remove the mark that a model has no trial and level 0."""
    levels = runtime / LEVELS / model
    special = (runtime / TRIALS / model).exists() or (levels.exists() and any(levels.iterdir()))
    mark = runtime / ORDINARY / model
    if special or not (runtime / MODELS / model).exists():
        mark.unlink(missing_ok=True)
    else:
        mark.touch()


def _share(runtime: Path, model: str, split: Split) -> None:
    """Have the bucket of each request lead to the folder that is called as its version is."""
    mark = runtime / TRIALS / model
    if not split.percent:
        # The links stay, for a request that has just seen the mark.
        mark.unlink(missing_ok=True)
        return
    (runtime / TO / split.version).mkdir(exist_ok=True)
    links = runtime / SHARE / model
    _folder(links)
    for bucket in range(BUCKETS):
        end = split.version if bucket < split.percent else ""
        _link(links / str(bucket), Path("..", "..", TO, end))
    mark.touch()


def _write(path: Path, text: str) -> None:
    """A file that nginx's worker processes can read, all or nothing; if it is another text."""
    if not path.exists() or path.read_text() != text:
        partial = path.with_suffix(".partial")
        partial.write_text(text)
        partial.chmod(0o644)
        partial.replace(path)


def _link(path: Path, target: Path) -> None:
    """A symbolic link, in the place of another one if there is one."""
    partial = path.with_name("partial")
    partial.unlink(missing_ok=True)  # of a disk that was full
    partial.symlink_to(target)
    partial.replace(path)


def _folder(path: Path) -> None:
    """One that nginx's worker processes can look into."""
    path.mkdir(exist_ok=True)
    path.chmod(0o711)
