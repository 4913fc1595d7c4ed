"""The chunks of a PNG.

https://www.w3.org/TR/png-3/
"""

import zlib
from http import HTTPStatus

from .budget import PNG_CHUNKS
from .data import Data
from .errors import RequestError, damaged

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Pillow unpacks them, and refuses a picture for one that is large. Nobody here needs them.
_LEFT_OUT = {b"eXIf", b"iCCP", b"iTXt", b"tEXt", b"zTXt"}
_END = b"IEND"
_BEFORE, _AFTER = 8, 4  # length and kind; CRC
_GRAY_WITH_ALPHA = (16, 4)  # bits and kind of color, after both sides


def prepared(data: Data) -> Data:
    """The file without texts, color profiles and Exif.

    Raises:
        RequestError: 415 for 16-bit gray with alpha; 422 for too many chunks, or one that is left
            out and damaged.
    """
    if bytes(data[12:16]) != b"IHDR":
        raise damaged("the picture is damaged: a PNG that does not begin with its header")
    if tuple(data[24:26]) == _GRAY_WITH_ALPHA:
        raise sixteen_bits()
    before_pixels = True
    kept: list[Data] = []
    at = start = len(SIGNATURE)
    kept.append(SIGNATURE)
    view = memoryview(data)
    for _ in range(PNG_CHUNKS):
        kind = bytes(view[at + 4 : at + _BEFORE])
        end = at + _BEFORE + int.from_bytes(view[at : at + 4], "big") + _AFTER
        if kind == _END or end > len(view):
            break
        before_pixels &= kind != b"IDAT"
        if kind in _LEFT_OUT:
            found, said = zlib.crc32(view[at + 4 : end - _AFTER]), view[end - _AFTER : end]
            # Pillow does not ask behind the pixels.
            if before_pixels and found != int.from_bytes(said, "big"):
                raise damaged(f"the picture is damaged: in its {kind.decode()}")
            kept.append(view[start:at])
            start = end
        at = end
    else:
        raise damaged(f"expected a PNG of at most {PNG_CHUNKS} chunks, got more")
    return data if len(kept) == 1 else b"".join([*kept, view[start:]])


def sixteen_bits() -> RequestError:
    """415, as Pillow would turn it nearly all white, or drop half of it."""
    return RequestError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "expected 8 bits per pixel, got a 16-bit grayscale picture; scale it to 8 bits first",
    )
