"""A file that may be read in so many pieces."""

import io
import os

from .budget import READS
from .data import Data
from .errors import damaged


class MeteredFile(io.BytesIO):
    """What Pillow reads a picture from, without a copy of it.

    Floods of empty segments, chunks and comments end here, as do runs of single bytes.

    Attributes:
        reads: how many pieces may still be read.

    Raises:
        RequestError: 422, on reading more.
    """

    def __init__(self, data: Data) -> None:
        super().__init__()
        self._view = memoryview(data)
        self._at = 0
        self.reads = READS

    def read(self, size: int | None = -1) -> bytes:
        self.reads -= 1
        if self.reads < 0:
            raise damaged("expected a file in fewer pieces; save it anew")
        start = min(self._at, len(self._view))
        left = len(self._view) - start
        self._at = start + (left if size is None or size < 0 else min(size, left))
        return bytes(self._view[start : self._at])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._view)}
        self._at = max(0, starts[whence] + offset)
        return self._at

    def tell(self) -> int:
        return self._at
