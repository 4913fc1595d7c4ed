"""What a server predicts for an image."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """A class and its probability from 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True)
class Result:
    """The result for one image.

    Attributes:
        predictions: the most likely classes, best first; their number is the ``top_k`` of the
            model's spec.
        model: name of the model.
        version: version of the model.
        request_id: of the request, as in the gateway's access log; empty without a gateway.
    """

    predictions: tuple[Prediction, ...]
    model: str
    version: str
    request_id: str

    @property
    def label(self) -> str:
        """The most likely class."""
        return self.predictions[0].label

    @property
    def probability(self) -> float:
        """The probability of the most likely class."""
        return self.predictions[0].probability
