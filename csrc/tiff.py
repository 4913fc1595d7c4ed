"""The tags of a TIFF (Adobe, TIFF 6.0), which Exif has as well."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from .budget import TIFF_NUMBERS, TIFF_TAGS, TIFF_TILE
from .data import Data
from .errors import DamagedImageError

SHORT, LONG = 3, 4
# Bytes, texts and undefined values, which Pillow leaves as they are where they tell of no pixels.
_BYTES = {1, 2, 7}
# Images of sizes and places, of which even bytes become objects: bits, strips, tiles, colors.
_OF_PIXELS = {258, 273, 277, 278, 279, 284, 320, 322, 323, 324, 325, 338, 339}
_TILE_SIDES = {322, 323}
# Other lists of tags, which Pillow reads in full, and nobody here needs.
_LISTS = {330, 34665, 34853, 40965}
_COUNT = 4  # where it is in a tag


class Tag(NamedTuple):
    """A tag of a TIFF's first image.

    Attributes:
        number: what it is about.
        kind: of its values.
        length: how many values.
        first: the first one, if it is a number that stands in the tag.
        at: where the tag is.
    """

    number: int
    kind: int
    length: int
    first: int
    at: int


def tags(data: Data) -> Iterator[Tag]:
    """The first image's tags; none where it is no TIFF."""
    view = memoryview(data)
    marks = bytes(view[:4])
    if marks not in (b"II*\0", b"MM\0*"):
        return
    order = "<" if marks.startswith(b"I") else ">"
    tag, count = struct.Struct(f"{order}HHI"), struct.Struct(f"{order}H")
    values = {SHORT: count, LONG: struct.Struct(f"{order}I")}
    (first,) = values[LONG].unpack(bytes(view[4:8]).ljust(4, b"\0"))
    entries = int.from_bytes(view[first : first + 2], "little" if order == "<" else "big")
    for at in range(first + 2, first + 2 + 12 * min(entries, TIFF_TAGS), 12):
        if at + 12 > len(view):
            return
        number, kind, values_count = tag.unpack_from(view, at)
        value = values.get(kind, count).unpack_from(view, at + 8)[0]
        yield Tag(number, kind, values_count, value, at)


def prepare(data: Data) -> Data:
    """The file without further lists of tags, if what describes its first image is bearable.

    Raises:
        DamagedImageError: it is not.
    """
    found = list(tags(data))
    numbers = sum(t.length for t in found if t.kind not in _BYTES or t.number in _OF_PIXELS)
    if numbers > TIFF_NUMBERS:
        raise DamagedImageError(
            f"expected a TIFF described by at most {TIFF_NUMBERS} numbers, got {numbers}; save it "
            "in larger strips"
        )
    # A decoder has room for a whole tile, however small the image.
    if any(t.number in _TILE_SIDES and (t.length != 1 or t.first > TIFF_TILE) for t in found):
        raise DamagedImageError(f"expected a TIFF of tiles of at most {TIFF_TILE} pixels a side")
    lists = [t for t in found if t.number in _LISTS]
    if not lists:
        return data
    mended = bytearray(data)
    for t in lists:
        mended[t.at + _COUNT : t.at + _COUNT + 4] = bytes(4)
    return mended
