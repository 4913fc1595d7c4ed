"""The answer of TorchServe's ``image_classifier``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .classifier import Prediction


def labels(predictions: "Sequence[Prediction]") -> dict[str, float]:
    """``{"tabby": 0.4096..., "tiger_cat": 0.3467..., ...}``, not rounded.

    Of a label that several classes have, the place of the likeliest and the probability of the
    least likely one count, as in ``ts/utils/util.py``.
    """
    return {prediction.label: prediction.probability for prediction in predictions}
