"""How a photograph is to be turned: the orientation in its Exif (CIPA DC-008, 4.6.4)."""

from itertools import islice

import numpy as np

from .budget import EXIF_TAGS
from .data import Data, Pixels
from .tiff import LONG, SHORT, tags

_ORIENTATION = 0x0112
_PREFIX = b"Exif\0\0"  # in a JPEG, and in some other files
UPRIGHT = 1


def orientation(data: Data | None) -> int:
    """1 to 8; 1, upright, for whatever does not say, or not as it should."""
    view = memoryview(data or b"")
    if bytes(view[: len(_PREFIX)]) == _PREFIX:
        view = view[len(_PREFIX) :]
    for tag in islice(tags(view), EXIF_TAGS):
        if tag.number == _ORIENTATION:
            stated = tag.kind in (SHORT, LONG) and tag.length == 1 and 1 <= tag.first <= 8
            return tag.first if stated else UPRIGHT
    return UPRIGHT


def swaps_sides(orientation: int) -> bool:
    """Whether height and width are swapped."""
    return orientation >= 5


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """The image as it is to be seen; ``(height, width, 3)``, as ImageOps.exif_transpose."""
    if swaps_sides(orientation):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
