"""The split into images to train on and images held out for validation."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]

# How images are held out: the same fraction of each class, or at random. With "test", none are, and
# validation uses the test set, as in several published experiments; choices based on it make
# results look better than they are.
HoldOut = Literal["stratified", "random", "test"]


def hold_out(labels: Indices, count: int, how: HoldOut, seed: int) -> tuple[Indices, Indices]:
    """Indices to train on and indices to validate on.

    With ``"stratified"``, ``count`` is met up to rounding.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    if how == "test" or count == 0:
        return np.arange(len(labels)), np.empty(0, np.int64)
    if how == "random":
        held = order[:count]
    else:
        share = min(1.0, count / len(labels))
        held = np.concatenate(
            [members[: round(share * len(members))] for members in _by_class(labels, order)]
        )
    return np.setdiff1d(order, held), np.sort(held)


def subset(labels: Indices, per_class: int, seed: int) -> Indices:
    """Random indices of ``per_class`` images of each class.

    Raises:
        ValueError: a class has fewer.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    groups = _by_class(labels, order)
    least = min(len(members) for members in groups)
    if least < per_class:
        raise ValueError(
            f"expected at least per_class={per_class} images of each class, the smallest has "
            f"{least}: make per_class smaller"
        )
    return np.sort(np.concatenate([members[:per_class] for members in groups]))


def _by_class(labels: Indices, order: Indices) -> list[Indices]:
    return [order[labels[order] == label] for label in np.unique(labels)]
