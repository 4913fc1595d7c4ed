"""A task, and who takes part in it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .task import TOLERANCE, Array, image_of, unlike


@dataclass(frozen=True)
class Contender:
    """One who takes part; ``exact`` is who has to give Pillow's bytes."""

    name: str
    call: Callable[[], Any]
    exact: bool = False
    note: str = ""


@dataclass(frozen=True)
class Job:
    """A task; the first contender is the one that the others are compared with.

    Attributes:
        right: the bytes that Pillow gives.
        normalized: the batch that torchvision gives on PIL images, if this job is for batches.
        pixels: from a contender's answer to its bytes.
        cold: memory of others is read and written before every call that is timed.
    """

    kind: str
    contenders: list[Contender]
    right: Array | None = None
    pixels: Callable[[Any], Array] = image_of
    normalized: Array | None = None
    size: tuple[int, int] = (0, 0)
    filter: str = ""
    threads: int = 1
    images: int = 1
    cold: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    def check(self, contender: Contender, answer: Any) -> tuple[float, int] | None:
        """How far an answer is from Pillow's; an exact one has none."""
        if self.right is None:
            return None
        share, largest = unlike(self.pixels(answer), self.right)
        if contender.exact:
            assert share == 0, f"{self}: {contender.name}: {share:.2%} of the bytes are wrong"
            if self.normalized is not None:
                error = float(np.abs(np.asarray(answer) - self.normalized).max())
                assert error <= TOLERANCE, f"{self}: {contender.name}: wrong by {error}"
        return share, largest

    def __str__(self) -> str:
        width, height = self.size
        words = [self.kind, f"{width}x{height}" if width else "", self.filter]
        words += [
            "cold" if self.cold else "",
            f"{self.threads} threads" if self.threads > 1 else "",
        ]
        return " ".join(word for word in words if word)
