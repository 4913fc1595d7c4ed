"""The items of an AVIF or a HEIC file: both are in the same container.

ISO/IEC 14496-12 (boxes) and 23008-12 (items). What decoders copy for each image, or decode though
no header tells of it, is bounded here before they see the file.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from . import av1
from .budget import ITEM_BOXES, ITEM_BYTES, ITEMS
from .data import Data
from .errors import DamagedImageError

_TWICE = "the image is damaged: it says twice what it is"
_TILES = 2  # a grid's images together, as a multiple of it; and some more of a small one
_SMALL = 1 << 20


class _Box(NamedTuple):
    """A box's kind, and where its content begins and ends."""

    kind: bytes
    start: int
    end: int


class _Item(NamedTuple):
    """Where an item's bytes are: offsets and lengths, in the file or in ``idat``."""

    in_idat: bool
    extents: list[tuple[int, int]]


class _Reader:
    """Numbers of a file, one after the other."""

    def __init__(self, view: memoryview, at: int) -> None:
        self._view = view
        self.at = at

    def number(self, length: int) -> int:
        found = int.from_bytes(self._view[self.at : self.at + length], "big")
        self.at += length
        return found


class _Meta:
    """What a file says of its items."""

    def __init__(self, data: Data) -> None:
        self._view = memoryview(data)
        self._boxes_left = ITEM_BOXES
        parts: dict[bytes, _Box] = {}
        for top in self._boxes(0, len(self._view)):
            if top.kind == b"meta":
                for box in self._boxes(top.start + 4, top.end):
                    if box.kind in parts:
                        raise DamagedImageError("the image is damaged: it says twice what it is")
                    parts[box.kind] = box
        self.groups = parts.get(b"grpl")
        self._idat = parts.get(b"idat")
        self.kinds: dict[int, bytes] = {}
        self.places: dict[int, _Item] = {}
        self.sizes: dict[int, tuple[int, int]] = {}
        self.profiles: Counter[int] = Counter()
        self.references: list[tuple[bytes, int, list[int]]] = []
        readers: dict[bytes, Callable[[_Box], None]] = {
            b"iinf": self._read_kinds,
            b"iloc": self._read_places,
            b"iprp": self._read_properties,
            b"iref": self._read_references,
        }
        for kind, read in readers.items():
            if kind in parts:
                read(parts[kind])

    def bytes_of(self, item: int) -> bytes:
        """An item's bytes, as far as they are there."""
        place = self.places.get(item)
        if place is None or (place.in_idat and self._idat is None):
            return b""
        base = self._idat.start if place.in_idat and self._idat else 0
        return b"".join(bytes(self._view[base + at : base + at + n]) for at, n in place.extents)

    def _boxes(self, start: int, end: int) -> Iterator[_Box]:
        while start + 8 <= end:
            reader = _Reader(self._view, start)
            size, kind = reader.number(4), bytes(self._view[start + 4 : start + 8])
            reader.at += 4
            if size == 1:
                size = reader.number(8)
            elif size == 0:
                size = end - start
            self._boxes_left -= 1
            if size < reader.at - start or start + size > end:
                return
            if self._boxes_left < 0:
                raise DamagedImageError(f"expected at most {ITEM_BOXES} boxes in a file, got more")
            yield _Box(kind, reader.at, start + size)
            start += size

    def _read_kinds(self, box: _Box) -> None:
        reader = _Reader(self._view, box.start)
        version = reader.number(4) >> 24
        reader.number(2 if version == 0 else 4)
        for entry in self._boxes(reader.at, box.end):
            reader = _Reader(self._view, entry.start)
            version = reader.number(4) >> 24
            item = reader.number(2 if version < 3 else 4)
            self.kinds[item] = bytes(self._view[reader.at + 2 : reader.at + 6])

    def _read_places(self, box: _Box) -> None:
        reader = _Reader(self._view, box.start)
        version = reader.number(4) >> 24
        sizes = reader.number(2)
        offset, length, base, index = (sizes >> shift & 0xF for shift in (12, 8, 4, 0))
        for _ in range(min(reader.number(2 if version < 2 else 4), ITEMS + 1)):
            item = reader.number(2 if version < 2 else 4)
            method = reader.number(2) & 0xF if version else 0
            reader.number(2)
            start = reader.number(base)
            extents = []
            for _ in range(min(reader.number(2), ITEMS)):
                reader.number(index if version else 0)
                extents.append((start + reader.number(offset), reader.number(length)))
            self.places[item] = _Item(method == 1, extents)

    def _read_properties(self, box: _Box) -> None:
        parts = list(self._boxes(box.start, box.end))
        containers = [part for part in parts if part.kind == b"ipco"]
        if len(containers) > 1:
            raise DamagedImageError(_TWICE)
        properties = [box for each in containers for box in self._boxes(each.start, each.end)]
        for part in parts:
            if part.kind == b"ipma":
                self._read_associations(part, properties)

    def _read_associations(self, box: _Box, properties: list[_Box]) -> None:
        reader = _Reader(self._view, box.start)
        version_and_flags = reader.number(4)
        wide, long = version_and_flags >> 24 > 0, version_and_flags & 1
        for _ in range(min(reader.number(4), ITEMS + 1)):
            item = reader.number(4 if wide else 2)
            for _ in range(reader.number(1)):
                index = reader.number(2) & 0x7FFF if long else reader.number(1) & 0x7F
                if not 1 <= index <= len(properties):
                    continue
                found = properties[index - 1]
                if found.kind == b"ispe":
                    size = _Reader(self._view, found.start + 4)
                    self.sizes[item] = size.number(4), size.number(4)
                elif found.kind == b"colr":
                    self.profiles[item] += found.end - found.start

    def _read_references(self, box: _Box) -> None:
        wide = _Reader(self._view, box.start).number(4) >> 24 > 0
        for part in self._boxes(box.start + 4, box.end):
            reader = _Reader(self._view, part.start)
            source = reader.number(4 if wide else 2)
            to = [reader.number(4 if wide else 2) for _ in range(min(reader.number(2), ITEMS + 1))]
            self.references.append((part.kind, source, to))


def prepare(data: Data) -> Data:
    """The file as it is, if what its decoder makes of it is bearable.

    Raises:
        DamagedImageError: it is not.
    """
    meta = _Meta(data)
    if len(meta.kinds) > ITEMS or sum(len(to) for _, _, to in meta.references) > ITEMS:
        raise DamagedImageError(f"expected a file of at most {ITEMS} items, got more")
    if meta.groups is not None and meta.groups.end - meta.groups.start > ITEMS:
        raise DamagedImageError("expected an image, got a collection of them")
    copied = meta.profiles.total()
    for kind, item, to in meta.references:
        lengths = [length for _, length in meta.places[item].extents] if item in meta.places else []
        if kind == b"cdsc":  # texts and Exif, for each image that they are about
            copied += sum(lengths) * len(to)
        area = _area(meta.sizes.get(item))
        if kind == b"dimg" and sum(_area(meta.sizes.get(one)) for one in to) > (
            _TILES * area + _SMALL
        ):
            raise DamagedImageError("expected an image of parts no larger than it, got more")
    if copied > ITEM_BYTES:
        raise DamagedImageError(
            f"expected texts and color profiles of at most {ITEM_BYTES} bytes, got {copied}"
        )
    for item, kind in meta.kinds.items():
        if kind == b"iovl":
            raise DamagedImageError("expected one image, got several that overlay each other")
        if kind == b"av01":
            _check_coded(meta.bytes_of(item), meta.sizes.get(item))
    return data


def _check_coded(coded: bytes, stated: tuple[int, int] | None) -> None:
    """Make sure that an image in AV1 is as large as its item says."""
    for size in av1.sizes(coded):
        if stated is None or size[0] > stated[0] or size[1] > stated[1]:
            raise DamagedImageError(
                f"the image is damaged: it states a size of {stated}, and has {size}"
            )


def _area(size: tuple[int, int] | None) -> int:
    return size[0] * size[1] if size else 0
