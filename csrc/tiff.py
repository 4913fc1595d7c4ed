"""The tags of a TIFF (Adobe, TIFF 6.0)."""

from .budget import TIFF_NUMBERS
from .data import Data
from .errors import DamagedPictureError

# Kinds of values that Pillow makes an object of each: all but bytes, texts and undefined ones.
_OBJECTS = {3, 4, 5, 8, 9, 10, 11, 12, 13, 16}


def checked(data: Data) -> Data:
    """The file as it is, if what describes its first picture is bearable.

    Raises:
        DamagedPictureError: it is not.
    """
    view = memoryview(data)
    order = "little" if bytes(view[:2]) == b"II" else "big"

    def number(at: int, length: int) -> int:
        return int.from_bytes(view[at : at + length], order)  # type: ignore[arg-type]

    first = number(4, 4)
    entries = (first + 2 + 12 * entry for entry in range(number(first, 2)))
    numbers = sum(number(at + 4, 4) for at in entries if number(at + 2, 2) in _OBJECTS)
    if numbers > TIFF_NUMBERS:
        raise DamagedPictureError(
            f"expected a TIFF described by at most {TIFF_NUMBERS} numbers, got {numbers}; save it "
            "in larger strips"
        )
    return data
