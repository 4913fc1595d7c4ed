"""The answer of the handler in TorchServe's MNIST example."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .classifier import Prediction


def class_number(predictions: "Sequence[Prediction]") -> int:
    """The number of the most likely class, from 0."""
    return predictions[0].number
