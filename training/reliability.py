"""How well probabilities are calibrated."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

BINS = 15  # of equal width, as in the publication


class Bin(NamedTuple):
    """The images whose best class has a probability in one range.

    Attributes:
        images: how many there are.
        confidence: mean probability of the best class; 0 where there are no images.
        accuracy: fraction whose best class is right; 0 where there are no images.
    """

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram (Guo, Pleiss, Sun, Weinberger 2017, https://arxiv.org/abs/1706.04599).

    Attributes:
        bins: :data:`BINS`, from the probability 0 to 1; each includes its upper end.
    """

    bins: tuple[Bin, ...]

    @classmethod
    def of(cls, probabilities: Tensor, labels: Tensor) -> "Reliability":
        """The diagram of probabilities, ``(N, classes)``, and true classes, ``(N,)`` int64."""
        best = probabilities.double().max(1)
        likely, right = best.values.numpy(), (best.indices == labels).numpy()
        number = np.clip(np.ceil(likely * BINS).astype(int) - 1, 0, BINS - 1)
        counts = np.bincount(number, minlength=BINS)
        sums = [np.bincount(number, each, BINS) for each in (likely, right)]
        confidence, accuracy = (each / np.maximum(counts, 1) for each in sums)
        rows = zip(counts.tolist(), confidence.tolist(), accuracy.tolist(), strict=True)
        return cls(tuple(Bin(*row) for row in rows))

    @property
    def images(self) -> int:
        return sum(each.images for each in self.bins)

    @property
    def confidence(self) -> float:
        """Mean probability of the best class, over all images."""
        return sum(each.images * each.confidence for each in self.bins) / self.images

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance between confidence and accuracy of a bin,
        weighted by its images.
        """
        gaps = (each.images * abs(each.accuracy - each.confidence) for each in self.bins)
        return sum(gaps) / self.images
