"""Reading images from files. To add a kind of file, write a function and a line in READERS."""

import io
import tarfile
from collections.abc import Callable, Iterator
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from falconet.native.formats import FORMATS, suffixes

from . import storage
from .ahead import map_ahead
from .part import Item, Part

# Columns of a Parquet file, by preference. Hugging Face's have a struct of bytes and path.
IMAGE_COLUMNS = ("image", "bytes", "content", "jpg", "png")
PATH_COLUMNS = ("path", "url", "file", "image_path")
KEY_COLUMNS = (*PATH_COLUMNS, "key", "id", "__key__")
BATCH = 16  # images that are held of a Parquet file
AT_A_TIME = 16  # requests to object storage, each of which takes its time
NO_IMAGE = "expected an image in this row, got nothing"
# Members of a WebDataset that are images, by their extensions; of others there is no row.
IMAGE_EXTENSIONS = tuple(suffixes(FORMATS))


def read(part: Part) -> Iterator[Item]:
    """The images of a part, in order.

    A file that is damaged, or cannot be read to its end, ends with an item that says so.

    Raises:
        OSError: the list of paths cannot be read.
    """
    items = READERS[part.reader](part)
    items = items if part.reader == "paths" else _until_error(part, items)
    return islice(items, part.start, part.stop)


def _until_error(part: Part, items: Iterator[Item]) -> Iterator[Item]:
    try:
        yield from items
    except OSError as error:
        yield Item(part.place, OSError(f"{part.place}: {error}"))
    except Exception as error:  # of the libraries that parse hostile files
        yield Item(part.place, ValueError(f"{part.place}: {error}"))


def _paths(part: Part) -> Iterator[Item]:
    """Some rows of a row group with paths."""
    system, path = storage.locate(part.place)
    with system.open_input_file(path) as opened:
        file = pq.ParquetFile(opened)
        column = path_column(file.schema_arrow)
        table = file.read_row_group(part.group, columns=[column])
    # Of those before the part, nothing is read.
    yield from (Item("", b"") for _ in range(part.start))
    paths = table.column(0)[part.start : part.stop].to_pylist()
    remote = any(storage.is_url(str(each)) for each in paths)
    yield from map_ahead(_item, paths, AT_A_TIME) if remote else map(_item, paths)


def _item(path: object) -> Item:
    """One file; a relative path would mean another file on another machine."""
    if not isinstance(path, str) or not (storage.is_url(path) or path.startswith("/")):
        return Item(str(path), OSError(f"expected an absolute path or a URL, got {path!r}"))
    try:
        return Item(path, storage.read(path))
    except OSError as error:
        return Item(path, error)
    except Exception as error:  # no file system for such a URL, or what one of them raises
        return Item(path, OSError(f"{path}: {error}"))


def _images(part: Part) -> Iterator[Item]:
    """A row group with the content of images."""
    system, path = storage.locate(part.place)
    with system.open_input_file(path) as opened:
        file = pq.ParquetFile(opened)
        schema = file.schema_arrow
        column = image_column(schema)
        if column is None:
            raise ValueError(missing_column(part.place))
        key = next((name for name in KEY_COLUMNS if name in schema.names), None)
        columns = [column] if key is None else [column, key]
        row = 0
        for batch in file.iter_batches(BATCH, [part.group], columns):
            for values in zip(*(batch.column(name) for name in columns), strict=True):
                named = values[1].as_py() if key is not None else None
                name, data = _content(values[0])
                name = next(
                    (str(each) for each in (named, name) if each is not None),
                    f"{part.place}#{part.group}.{row}",
                )
                yield Item(name, data)
                row += 1


def _content(value: pa.Scalar) -> tuple[str | None, bytes | OSError]:
    """The path of an image, if there is one, and its content."""
    path = None
    if isinstance(value, pa.StructScalar) and value.is_valid:
        path = value["path"].as_py() if "path" in value.keys() else None  # noqa: SIM118
        value = value["bytes"]
    if not value.is_valid:
        return path, OSError(NO_IMAGE)
    try:
        storage.check_size("an image", value.as_buffer().size)
    except OSError as error:
        return path, error
    return path, value.as_py()


def image_column(schema: pa.Schema) -> str | None:
    """The column with the content of images, if there is one."""
    for name in IMAGE_COLUMNS:
        if name not in schema.names:
            continue
        kind = schema.field(name).type
        if (
            pa.types.is_binary(kind)
            or pa.types.is_large_binary(kind)
            or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)
        ):
            return name
    return None


def path_column(schema: pa.Schema) -> str | None:
    """The column with the paths of images, if there is one."""
    return next((name for name in PATH_COLUMNS if name in schema.names), None)


def missing_column(place: str) -> str | None:
    """What a Parquet file lacks; ``None`` if it has images or paths, or is damaged."""
    system, path = storage.locate(place)
    try:
        with system.open_input_file(path) as file:
            schema = pq.read_schema(file)
    except pa.ArrowException:
        return None
    if image_column(schema) or path_column(schema):
        return None
    found = ", ".join(f"{field.name} ({field.type})" for field in schema)
    return (
        f"expected a column of images ({', '.join(IMAGE_COLUMNS)}: binary) or of paths "
        f"({', '.join(PATH_COLUMNS)}), got {found}"
    )


def _tar(part: Part) -> Iterator[Item]:
    """A tar file, as WebDataset writes them: files whose names have an image's extension."""
    system, path = storage.locate(part.place)
    with (
        system.open_input_stream(path) as file,
        tarfile.open(fileobj=file, mode="r|*", tarinfo=_Member) as archive,
    ):
        for member in archive:
            if not member.isfile() or not member.name.lower().endswith(IMAGE_EXTENSIONS):
                continue
            name = f"{part.place}#{member.name}"
            try:
                storage.check_size(name, member.size)
            except OSError as error:
                yield Item(name, error)
                continue
            content = archive.extractfile(member) or io.BytesIO()
            yield Item(name, content.read())


class _Member(tarfile.TarInfo):
    """Tells a tar file that is cut or damaged from one that ends, which tarfile does not."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_Member":
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # its end
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


READERS: dict[str, Callable[[Part], Iterator[Item]]] = {
    "paths": _paths,
    "images": _images,
    "tar": _tar,
}
