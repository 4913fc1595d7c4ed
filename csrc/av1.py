"""The sizes of images in AV1 (AV1 Bitstream & Decoding Process Specification, 5.3 to 5.5)."""

from collections.abc import Iterator

from .budget import AV1_UNITS
from .errors import DamagedImageError

_SEQUENCE_HEADER = 1
_HEADER_BYTES = 64  # more than one has before its sizes


def sizes(coded: bytes) -> Iterator[tuple[int, int]]:
    """The largest width and height that each sequence header allows.

    Raises:
        DamagedImageError: the units' lengths do not fit, or there are too many of them.
    """
    at = 0
    for _ in range(AV1_UNITS):
        if at >= len(coded):
            return
        first = coded[at]
        at += 2 if first & 4 else 1  # with an extension, or not
        length = len(coded) - at
        if first & 2:
            length, at = _leb128(coded, at)
        if at + length > len(coded):
            raise DamagedImageError("the image is damaged: a unit of AV1 is cut off")
        if first >> 3 & 15 == _SEQUENCE_HEADER:
            yield _size(_Bits(coded[at : at + min(length, _HEADER_BYTES)]))
        at += length
    raise DamagedImageError(f"expected an image of at most {AV1_UNITS} units of AV1, got more")


def _leb128(coded: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(8):
        byte = coded[at] if at < len(coded) else 0
        value, at = value | (byte & 0x7F) << 7 * i, at + 1
        if byte < 0x80:
            break
    return value, at


class _Bits:
    """Bits, the highest first; zeros behind the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        found = self._value >> self._left if self._left >= 0 else self._value << -self._left
        return found & (1 << count) - 1


def _size(bits: _Bits) -> tuple[int, int]:
    """Width and height of a sequence header."""
    bits.take(4)  # profile, still image
    if bits.take(1):  # reduced header
        bits.take(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(width_bits) + 1, bits.take(height_bits) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.take(1):  # timing
        bits.take(64)
        if bits.take(1):  # equal intervals
            zeros = 0
            while zeros < 32 and not bits.take(1):
                zeros += 1
            bits.take(zeros)
        if bits.take(1):  # decoder model
            delay_bits = bits.take(5) + 1
            bits.take(42)
    display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if display_delay and bits.take(1):
            bits.take(4)
