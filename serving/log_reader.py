"""What is written to a log from now on, also after the log has been rotated."""

import contextlib
import os
from pathlib import Path
from typing import BinaryIO


class LogReader:
    """Reads a log from its present end.

    A log may be rotated in both ways: by a new file under its name, or by truncation. A log that
    does not exist yet is read from its beginning once it does.

    Args:
        path: of the log.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._begun = b""  # of a line that is not complete yet
        with contextlib.suppress(FileNotFoundError):
            self._file = self._open()
            self._file.seek(0, os.SEEK_END)

    def lines(self) -> list[str]:
        """The complete lines since the last call, without their ends."""
        found = self._rest()
        if self._is_replaced():
            found += self._rest()  # written just before
            with contextlib.suppress(FileNotFoundError):
                successor = self._open()
                self.close()
                self._file = successor
                found += self._rest()
        return found

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._begun = b""

    def __enter__(self) -> "LogReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> BinaryIO:
        return self._path.open("rb")

    def _is_replaced(self) -> bool:
        """Whether the name means another file than the one that is open."""
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False
        return self._file is None or os.fstat(self._file.fileno()).st_ino != now.st_ino

    def _rest(self) -> list[str]:
        if self._file is None:
            return []
        if os.fstat(self._file.fileno()).st_size < self._file.tell():  # truncated
            self._file.seek(0)
            self._begun = b""
        *lines, self._begun = (self._begun + self._file.read()).split(b"\n")
        return [line.decode(errors="replace") for line in lines]
