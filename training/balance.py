"""Class counts: warnings about them, and class weights for the loss."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .progress import console
from .split import Indices

UNEVEN = 3  # times the images of the smallest class


def check_classes(
    classes: Sequence[str], training: Indices, held: Indices, *, balanced: bool
) -> None:
    """Warn of classes without held-out images, and of classes with few images.

    Args:
        classes: names, by label.
        training: labels of the images that are trained on.
        held: labels of the held-out images, if any.
        balanced: whether the loss has a weight for each class.

    Raises:
        ValueError: all images of a class are held out.
    """
    counts = np.bincount(training, minlength=len(classes))
    if missing := _without(classes, counts):
        raise ValueError(
            f"expected images of each class to train on, got none of {missing}: make validation "
            "smaller, or take hold_out=stratified, so that not all of them are held out"
        )
    if len(held) and (missing := _without(classes, np.bincount(held, minlength=len(classes)))):
        console.print(
            f"no image of {missing} is held out: the validation accuracy does not cover "
            "them; a larger validation would"
        )
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] > UNEVEN * counts[least] and not balanced:
        console.print(
            f"the classes are uneven: {counts[most]:,} images of {classes[most]} to train on, "
            f"{counts[least]:,} of {classes[least]}; balanced=true makes each class count alike"
        )


def class_weights(training: Indices, classes: int) -> Tensor:
    """The weight of each class in the loss, float32; 1 where all classes have the same size."""
    counts = np.bincount(training, minlength=classes)
    return torch.from_numpy(counts.mean() / counts).float()


def balanced_loss(logits: Tensor, target: Tensor, weight: Tensor, smoothing: float = 0) -> Tensor:
    """Weighted cross-entropy, averaged over the images for any mix of classes in a batch.

    PyTorch's mean divides by the weights in the batch, which reduces the share of rare classes.

    Args:
        logits: ``(N, classes)``, float32.
        target: labels, int64 ``(N,)``, or probabilities, float32 ``(N, classes)``.
        weight: of each class, see :func:`class_weights`.
        smoothing: share of the target spread over all classes.
    """
    total = F.cross_entropy(logits, target, weight, reduction="sum", label_smoothing=smoothing)
    return total / len(logits)


def _without(classes: Sequence[str], counts: Indices) -> str:
    return ", ".join(classes[i] for i in np.flatnonzero(counts == 0).tolist())
