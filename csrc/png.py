"""The chunks of a PNG.

https://www.w3.org/TR/png-3/
"""

import struct
import zlib
from collections.abc import Iterator

from .budget import PNG_CHUNKS
from .data import Data
from .errors import DamagedImageError, deep_gray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Pillow unpacks them, and refuses an image for one that is large. Nobody here needs them.
_LEFT_OUT = {b"eXIf", b"iCCP", b"iTXt", b"tEXt", b"zTXt"}
_END = b"IEND"
_HEAD = struct.Struct(">I4s")  # length and kind
_BEFORE, _AFTER = _HEAD.size, 4  # CRC
_GRAY_WITH_ALPHA = b"\x10\4"  # bits and kind of color, after both sides


def prepare(data: Data) -> Data:
    """The file without texts, color profiles and Exif.

    Raises:
        UnsupportedFormatError: 16-bit gray with alpha.
        DamagedImageError: too many chunks, or one that is left out and damaged.
    """
    if data[12:16] != b"IHDR":
        raise DamagedImageError("the image is damaged: a PNG that does not begin with its header")
    if data[24:26] == _GRAY_WITH_ALPHA:
        raise deep_gray()
    before_pixels = True
    kept: list[Data] = [SIGNATURE]
    start = len(SIGNATURE)
    view = memoryview(data)
    for kind, at, end in _chunks(view):
        before_pixels &= kind != b"IDAT"
        if kind in _LEFT_OUT:
            found, said = zlib.crc32(view[at + 4 : end - _AFTER]), view[end - _AFTER : end]
            # Pillow does not ask behind the pixels.
            if before_pixels and found != int.from_bytes(said, "big"):
                raise DamagedImageError(f"the image is damaged: in its {kind.decode()}")
            kept.append(view[start:at])
            start = end
    return data if len(kept) == 1 else b"".join([*kept, view[start:]])


def exif(data: Data) -> Data | None:
    """What the file says of how it was taken, if it does."""
    view = memoryview(data)
    for kind, at, end in _chunks(view):
        if kind == b"eXIf":
            return view[at + _BEFORE : end - _AFTER]
    return None


def _chunks(view: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's kind, and where it begins and ends, up to the last or one that is cut off.

    Raises:
        DamagedImageError: too many.
    """
    at, size = len(SIGNATURE), len(view)
    for _ in range(PNG_CHUNKS):
        if at + _BEFORE > size:
            return
        length, kind = _HEAD.unpack_from(view, at)
        end = at + _BEFORE + length + _AFTER
        if kind == _END or end > size:
            return
        yield kind, at, end
        at = end
    raise DamagedImageError(f"expected a PNG of at most {PNG_CHUNKS} chunks, got more")
