"""The chunks of a WebP.

https://developers.google.com/speed/webp/docs/riff_container
"""

from .budget import RIFF_CHUNKS
from .data import Data

_HEAD = 12
_HAS_EXIF = 8  # a flag


def exif(data: Data) -> Data | None:
    """What the file says of how it was taken, if it does."""
    view = memoryview(data)
    at = _HEAD
    if bytes(view[at : at + 4]) != b"VP8X" or not int.from_bytes(view[20:21], "big") & _HAS_EXIF:
        return None
    for _ in range(RIFF_CHUNKS):
        length = int.from_bytes(view[at + 4 : at + 8], "little")
        if at + 8 + length > len(view):
            return None
        if bytes(view[at : at + 4]) == b"EXIF":
            return view[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return None
