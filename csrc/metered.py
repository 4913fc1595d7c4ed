"""A file that may be read in so many pieces."""

import io
import os

from .budget import READS, SMALL, TIMES_READ
from .data import Data
from .errors import DamagedImageError


def open_file(data: Data) -> io.BytesIO:
    """A file of these bytes, metered unless it is too small to have many pieces.

    The tags of a TIFF may name the same bytes again and again, however few.
    """
    few = len(data) <= SMALL and bytes(data[:2]) not in (b"II", b"MM")
    return io.BytesIO(data) if few else MeteredFile(data)


class MeteredFile(io.BytesIO):
    """What Pillow reads an image from, without a copy of it.

    Floods of empty segments, chunks and comments end here, as do runs of single bytes.

    Attributes:
        reads: how many pieces may still be read.

    Raises:
        DamagedImageError: on reading more, or the same again and again.
    """

    def __init__(self, data: Data) -> None:
        super().__init__()
        self._view = memoryview(data)
        self._at = 0
        self.reads = READS
        self._bytes = TIMES_READ * len(self._view) + SMALL

    def read(self, size: int | None = -1) -> bytes:
        start = min(self._at, len(self._view))
        left = len(self._view) - start
        self._at = start + (left if size is None or size < 0 else min(size, left))
        self.reads -= 1
        self._bytes -= self._at - start
        if self.reads < 0 or self._bytes < 0:
            raise DamagedImageError("expected a file in fewer pieces; save it anew")
        return bytes(self._view[start : self._at])

    def getvalue(self) -> bytes:
        """The whole file, as Pillow gives it to libtiff."""
        return bytes(self._view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._view)}
        self._at = max(0, starts[whence] + offset)
        return self._at

    def tell(self) -> int:
        return self._at
