"""Which parts there are: written down, so that a resumed job has the same."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from . import PART_SIZE, storage
from .part import Part
from .readers import image_column, missing_column, path_column

# Folders with such a file have the results of a job, and are no input.
FILE_NAME, PATHS = "_plan.json", "_paths.parquet"
PARQUET = ".parquet"
TAR = (".tar", ".tar.gz", ".tgz")


def make(source: str, output: str, size: int = PART_SIZE) -> list[Part]:
    """Find the parts of an input, and write them down.

    Args:
        source: absolute path or URL of a folder, a Parquet or tar file, a text file with a path in
            each line, or an image; or a pattern of such paths.
        output: the folder of the results.
        size: of a part, where images are files of their own; in images.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: there are no images, or a Parquet file without a column of images or paths.
    """
    folder = f"{output.rstrip('/')}/"
    parts: list[Part] = []
    paths = _split(_places(source), parts, size)
    # What is in this folder already, or will be, is no input either.
    storage.write(f"{folder}{FILE_NAME}", b"[]")
    if source.endswith(PARQUET) and (missing := missing_column(source)):
        raise ValueError(f"{source}: {missing}")
    place = f"{folder}{PATHS}"
    if _write_paths(paths, place, size):
        parts += _of_parquet(place, size)
    if not parts:
        raise ValueError(f"{source}: expected images, Parquet or tar files; there are none")
    content = [asdict(part) for part in parts]
    storage.write(f"{folder}{FILE_NAME}", json.dumps(content).encode())
    return parts


def load(output: str) -> list[Part]:
    """The parts that were written down before.

    Raises:
        OSError: there are none.
    """
    content = json.loads(storage.read(f"{output.rstrip('/')}/{FILE_NAME}", limit=1 << 40))
    return [Part(**fields) for fields in content]


def _places(source: str) -> Iterator[str]:
    """The files that are meant."""
    if any(each in source for each in "*?[") and not storage.exists(source):
        yield from storage.glob(source, without=FILE_NAME)
    elif storage.is_folder(source):
        yield from storage.walk(source, without=FILE_NAME)
    elif source.endswith(".txt"):
        yield from map(storage.absolute, storage.lines(source))
    else:
        yield source


def _split(places: Iterable[str], parts: list[Part], size: int) -> Iterator[str]:
    """Give the images that are files of their own; append the parts of other files."""
    for place in places:
        if place.endswith(PARQUET):
            parts += _of_parquet(place, size)
        elif place.endswith(TAR):
            parts.append(Part("tar", place))
        else:
            yield place


def _of_parquet(place: str, size: int) -> Iterator[Part]:
    """A part for each row group; of paths, for each ``size`` rows."""
    system, path = storage.locate(place)
    try:
        with system.open_input_file(path) as opened:
            file = pq.ParquetFile(opened)
            schema, count = file.schema_arrow, file.num_row_groups
            rows = [file.metadata.row_group(group).num_rows for group in range(count)]
    except (pa.ArrowException, ValueError):
        yield Part("images", place)  # a row will say that it is damaged
        return
    paths = image_column(schema) is None and path_column(schema) is not None
    for group in range(count):
        if paths:
            for start in range(0, rows[group], size):
                yield Part("paths", place, group, start, start + size)
        else:
            yield Part("images", place, group)


def _write_paths(paths: Iterator[str], place: str, size: int) -> bool:
    """Write paths down, a row group for each part; whether there are any."""
    schema = pa.schema([("path", pa.string())])
    some = list(islice(paths, size))
    if not some:
        return False
    content = pa.BufferOutputStream()
    with pq.ParquetWriter(content, schema) as writer:
        while some:
            writer.write_table(pa.table({"path": some}, schema), row_group_size=size)
            some = list(islice(paths, size))
    storage.write(place, content.getvalue())
    return True
