"""Thresholds on the probability of a class that reach a precision."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Reached(NamedTuple):
    """Precision and recall of a threshold for a class, on some images.

    Attributes:
        images: number of images with at least that probability.
        precision: fraction of these that are of the class; 0 where there are none.
        recall: fraction of the class's images that reach the threshold; likewise.
    """

    images: int
    precision: float
    recall: float

    @classmethod
    def by(cls, threshold: float, likely: Probabilities, is_class: Flags) -> "Reached":
        """Compute them for a threshold.

        Args:
            threshold: on the probability.
            likely: probability of the class, ``(N,)``.
            is_class: whether it is the true one, ``(N,)``.
        """
        found = likely >= threshold
        hits = int((found & is_class).sum())
        images = int(found.sum())
        return cls(images, hits / max(1, images), hits / max(1, int(is_class.sum())))


def threshold(likely: Probabilities, is_class: Flags, least_precision: float) -> float | None:
    """The lowest probability of a class that reaches a precision.

    Of all thresholds that reach the precision, it has the highest recall.

    Args:
        likely: probability of the class, ``(N,)``.
        is_class: whether it is the true one, ``(N,)``.
        least_precision: above 0, up to 1.

    Returns:
        One of the probabilities; ``None`` if none reaches the precision.
    """
    order = np.argsort(-likely, kind="stable")
    falling = likely[order]
    precision = np.cumsum(is_class[order]) / np.arange(1, len(order) + 1)
    # Images with the same probability are on the same side of a threshold.
    apart = np.append(falling[1:] != falling[:-1], True)
    enough = np.flatnonzero(apart & (precision >= least_precision))
    return float(falling[enough[-1]]) if len(enough) else None
