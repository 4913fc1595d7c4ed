"""Files on disk or on object storage, by their paths or URLs."""

import io
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import fsspec.core
import pyarrow as pa
from pyarrow import fs

from .row import in_utf8

MAX_BYTES = 1 << 28  # of a file that is read whole

_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/]*", re.IGNORECASE)
_SECRET = re.compile(r"://[^/@]*:[^/@]*@")


def locate(place: str) -> tuple[fs.FileSystem, str]:
    """The file system of a path or URL, and the path in it.

    Args:
        place: a path of this machine, or a URL that pyarrow.fs or fsspec knows, like
            ``s3://bucket/folder``. Nothing in it is escaped.

    Raises:
        ValueError, OSError, ImportError: neither knows the URL, or a package for it is missing.
    """
    found = _URL.match(place)
    if found is not None and _SECRET.search(found[0]):
        raise ValueError(
            "expected a URL without credentials, as it is written into the results; set them in "
            "the environment, like AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if found is None:
        return fs.LocalFileSystem(), str(Path(place).absolute())
    try:
        system, folder = _system(found[0])
    except pa.ArrowInvalid:
        other, path = fsspec.core.url_to_fs(place)
        return fs.PyFileSystem(fs.FSSpecHandler(other)), path
    return system, folder + place[found.end() :]


@cache
def _system(root: str) -> tuple[fs.FileSystem, str]:
    """The file system of a URL without a path, and its root; with its connections."""
    found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(root)
    return found


def absolute(place: str) -> str:
    """The same place whatever the current folder is."""
    return place if is_url(place) else str(Path(place).absolute())


def is_url(place: str) -> bool:
    """Whether it is a URL rather than a path of this machine."""
    return _URL.match(place) is not None


def read(place: str, limit: int = MAX_BYTES) -> bytes:
    """The content of a file.

    Raises:
        OSError: it cannot be read, or has more than ``limit`` bytes.
    """
    system, path = locate(place)
    # A pipe or a device could be read forever.
    if isinstance(system, fs.LocalFileSystem) and Path(path).exists() and not Path(path).is_file():
        raise OSError(f"{place}: expected a regular file")
    with system.open_input_file(path) as file:
        check_size(place, file.size(), limit)
        content: bytes = file.read()
    return content


def check_size(place: str, size: int, limit: int = MAX_BYTES) -> None:
    """Make sure that a file can be read whole.

    Raises:
        OSError: it has more than ``limit`` bytes.
    """
    if size > limit:
        raise OSError(f"{place}: expected at most {limit} bytes, got {size}")


def lines(place: str) -> Iterator[str]:
    """The lines of a text file in UTF-8, without the empty ones and without surrounding spaces.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8.
    """
    system, path = locate(place)
    with (
        system.open_input_stream(path) as file,
        io.TextIOWrapper(file, encoding="utf-8-sig") as text,
    ):
        yield from filter(None, map(str.strip, text))


def write(place: str, content: bytes) -> None:
    """Write a file, all or nothing: on object storage a file appears when it is complete."""
    system, path = locate(place)
    system.create_dir(path.rpartition("/")[0], recursive=True)
    if not isinstance(system, fs.LocalFileSystem):
        with system.open_output_stream(path) as file:
            file.write(content)
        return
    # Readers of data sets pass over names that begin with an underscore.
    partial = Path(path).with_name(f"_{Path(path).name}.partial")
    with partial.open("wb") as local:
        local.write(content)
        local.flush()
        os.fsync(local.fileno())  # a file that exists after a power failure is complete
    partial.replace(path)


def names(place: str) -> set[str]:
    """The names of the files in a folder; none if there is no such folder."""
    system, path = locate(place)
    selector = fs.FileSelector(path, allow_not_found=True)
    return {each.base_name for each in system.get_file_info(selector) if each.is_file}


def is_folder(place: str) -> bool:
    """Whether there is a folder rather than a file.

    Raises:
        FileNotFoundError: there is neither.
    """
    system, path = locate(place)
    kind = system.get_file_info(path).type
    if kind == fs.FileType.NotFound:
        raise FileNotFoundError(f"{place}: there is no such file or folder")
    return bool(kind == fs.FileType.Directory)


def walk(place: str, without: str = "", seen: set[str] | None = None) -> Iterator[str]:
    """All files below a folder, in order of their names; hidden ones are left out.

    Args:
        place: of the folder.
        without: a name; folders that have such a file are left out.
        seen: folders of this machine that have been walked, links resolved: none is walked twice.
    """
    system, path = locate(place)
    seen = set() if seen is None else seen
    if isinstance(system, fs.LocalFileSystem):
        resolved = os.path.realpath(path)
        if resolved in seen:
            return
        seen.add(resolved)
        entries = [(each.name, each.is_dir(), each.is_file()) for each in os.scandir(path)]
    else:
        entries = [
            (each.base_name, each.type == fs.FileType.Directory, each.is_file)
            for each in system.get_file_info(fs.FileSelector(path))
        ]
    if without in {name for name, _, _ in entries}:
        return
    prefix = place.rstrip("/")
    for name, is_folder, is_file in sorted(entries):
        if name.startswith("."):
            continue
        # What is not UTF-8 cannot be written down; a row will say that there is no file.
        inner = in_utf8(f"{prefix}/{name}")
        if is_folder:
            yield from walk(inner, without, seen)
        elif is_file:
            yield inner


def exists(place: str) -> bool:
    """Whether there is a file or folder."""
    system, path = locate(place)
    return bool(system.get_file_info(path).type != fs.FileType.NotFound)


def glob(pattern: str, without: str = "") -> Iterator[str]:
    """The files whose paths match a pattern, in order.

    Args:
        pattern: absolute path or URL with ``*``, ``?``, ``[...]`` or ``**``.
        without: see :func:`walk`.

    Raises:
        ValueError: it is not a valid pattern.
    """
    folder = re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0]
    try:
        expression = re.compile(_expression(pattern))
    except re.error as error:
        raise ValueError(f"{pattern}: expected a valid pattern: {error}") from None
    yield from filter(expression.fullmatch, walk(folder or "/", without))


def _expression(pattern: str) -> str:
    """A glob pattern as a regular expression: ``*`` matches no slash, ``**/`` any folders."""
    parts = []
    for token in re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|[^*?\[]+|\[", pattern):
        if token == "**/":
            parts.append("(?:[^/]+/)*")
        elif token == "**":
            parts.append(".*")
        elif token == "*":
            parts.append("[^/]*")
        elif token == "?":
            parts.append("[^/]")
        elif token.startswith("[") and token.endswith("]"):
            parts.append(token.replace("[!", "[^"))
        else:
            parts.append(re.escape(token))
    return "".join(parts)
