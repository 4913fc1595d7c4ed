"""A part of the images: the unit that is scored, written, and repeated after a failure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple


class Item(NamedTuple):
    """An image.

    Attributes:
        key: its path, or its name within a data set.
        data: the content of the file; an OSError if it cannot be read, which may pass; or a
            ValueError if the file that holds it is damaged.
    """

    key: str
    data: bytes | OSError | ValueError


@dataclass(frozen=True)
class Part:
    """Some images of one file that holds images, or paths of images.

    Attributes:
        reader: name in :data:`.readers.READERS`.
        place: path or URL of the file.
        group: number of the row group in it; 0 where there are none.
        start, stop: of its images, which belong to this part; ``stop`` may be beyond the last.
    """

    reader: str
    place: str
    group: int = 0
    start: int = 0
    stop: int = 1 << 62

    def halves(self, count: int) -> Iterator["Part"]:
        """Both halves of a part of so many images."""
        middle = self.start + count // 2
        yield replace(self, stop=middle)
        yield replace(self, start=middle, stop=self.start + count)
