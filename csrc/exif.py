"""How a photograph is to be turned: the orientation in its Exif.

CIPA DC-008 (Exif 3.0), 4.6.4; the tags are a TIFF's.
"""

import numpy as np

from .budget import EXIF_ENTRIES
from .data import Data, Pixels

_ORIENTATION, _SHORT = 0x0112, 3
_PREFIX = b"Exif\0\0"  # in a JPEG, and in some other files
AS_IT_IS = 1


def orientation(exif: Data | None) -> int:
    """1 to 8; 1, as it is, for whatever does not say, or not as it should."""
    view = memoryview(exif or b"")
    if bytes(view[: len(_PREFIX)]) == _PREFIX:
        view = view[len(_PREFIX) :]
    marks = bytes(view[:4])
    if marks not in (b"II*\0", b"MM\0*"):
        return AS_IT_IS
    order = "little" if marks.startswith(b"I") else "big"

    def number(at: int, length: int) -> int:
        return int.from_bytes(view[at : at + length], order)  # type: ignore[arg-type]

    first = number(4, 4)
    for entry in range(min(number(first, 2), EXIF_ENTRIES)):
        at = first + 2 + 12 * entry
        if number(at, 2) == _ORIENTATION:
            stated = number(at + 8, 2)
            whole = number(at + 2, 2) == _SHORT and number(at + 4, 4) == 1
            return stated if whole and 1 <= stated <= 8 else AS_IT_IS
    return AS_IT_IS


def swaps_sides(turned: int) -> bool:
    """Whether height and width are swapped."""
    return turned >= 5


def turn(pixels: Pixels, turned: int) -> Pixels:
    """The picture as it is to be seen; ``(height, width, 3)``, as ImageOps.exif_transpose."""
    if swaps_sides(turned):
        pixels = pixels.transpose(1, 0, 2)
    if turned in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turned in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
