"""The markers of a JPEG.

ITU-T T.81, annex B. What is between them is skipped by lengths, so that a film behind an image, or
a small image within, is not taken for a part of it.
"""

import re
from typing import NamedTuple

from .budget import JPEG_PASSES, JPEG_SCANS, JPEG_SEGMENTS
from .data import Data
from .errors import DamagedImageError

BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
# Start of frame; the numbers between are tables.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_MARK, _END, _SCAN = 0xFF, 0xD9, 0xDA
_APP1, _EXIF, _SEGMENT_HEAD = 0xE1, b"Exif\0\0", 4  # marker and length
# Without a length, or with one that libjpeg does not heed.
_ALONE = {*range(0x01, 0xC0), *range(0xD0, 0xDA)}
# APP1 to APP15 and comments, but for Adobe's APP14, which says how colors are meant.
_NOT_NEEDED = {*range(0xE1, 0xEE), 0xEF, 0xFE}
_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
# Within a scan: not the markers that restart it.
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


class Header(NamedTuple):
    """What a JPEG says of itself.

    Attributes:
        process: :data:`BASELINE`, :data:`EXTENDED`, :data:`PROGRESSIVE`, or another.
        precision: bits of a sample.
        height, width: in pixels.
        components: colors.
        scans: passes over the pixels.
        not_needed: where segments begin and end that a decoder does without.
    """

    process: int
    precision: int
    height: int
    width: int
    components: int
    scans: int
    not_needed: tuple[tuple[int, int], ...]

    def lean(self, data: Data) -> Data:
        """The file without what is not needed."""
        if not self.not_needed:
            return data
        view = memoryview(data)
        starts = (0, *(end for _, end in self.not_needed))
        ends = (*(begin for begin, _ in self.not_needed), len(view))
        return b"".join(view[start:end] for start, end in zip(starts, ends, strict=True))

    def exif(self, data: Data) -> Data | None:
        """What the file says of how it was taken, if it does before its pixels."""
        for begin, end in self.not_needed:
            start = begin + _SEGMENT_HEAD
            if data[begin + 1] == _APP1 and bytes(data[start : start + len(_EXIF)]) == _EXIF:
                return data[start:end]
        return None


def read(data: Data, max_pixels: int) -> Header:
    """Walk over the markers, up to the only scan, or the end.

    Raises:
        DamagedImageError: too many segments or scans, or no scan.
    """
    process = precision = height = width = components = 0
    not_needed: list[tuple[int, int]] = []
    scans, segments, several, at, size = 0, 0, False, 2, len(data)
    while True:
        # The usual case first: a search costs more than the rest.
        if at + 1 < size and data[at] == _MARK and 0 < data[at + 1] < _MARK:
            marker, at = data[at + 1], at + 2
        elif (found := _MARKER.search(data, at)) is not None:
            marker, at = found[1][0], found.end()
        else:
            break
        segments += 1
        if segments > JPEG_SEGMENTS:
            raise DamagedImageError(
                f"expected a JPEG of at most {JPEG_SEGMENTS} segments, got more"
            )
        if marker == _END and scans:
            break
        if marker in _ALONE:
            continue
        length = data[at] << 8 | data[at + 1] if at + 1 < size else 0
        if length < 2:  # libjpeg and Pillow go on after it
            raise DamagedImageError("the image is damaged: a segment of a JPEG has no length")
        if at + length > size:
            break
        if marker in _NOT_NEEDED and not scans:
            not_needed.append((at - 2, at + length))
        if marker in _FRAMES:
            if process or length < 8:
                break
            process, precision, components = marker, data[at + 2], data[at + 7]
            height, width = (data[at + i] << 8 | data[at + i + 1] for i in (3, 5))
        at += length
        if marker == _SCAN:
            if not process or length < 3:
                break
            scans += 1
            several |= process not in (BASELINE, EXTENDED)
            several |= data[at - length + 2] < components
            if not several:
                break  # a decoder reads no further
            # What has too many pixels is refused for that.
            passes = max(JPEG_PASSES, max_pixels * JPEG_PASSES // max(1, height * width))
            if scans > min(JPEG_SCANS, passes):
                raise DamagedImageError(
                    f"expected a JPEG of at most {min(JPEG_SCANS, passes)} scans, got more"
                )
            after = _AFTER_SCAN.search(data, at)
            if after is None:
                break
            at = after.start()
    if not scans:
        raise DamagedImageError("the image is damaged: a JPEG without pixels")
    return Header(process, precision, height, width, components, scans, tuple(not_needed))
