"""TensorFlow Serving's JSON, which KServe calls v1: ``{"instances": [{"b64": "..."}, ...]}``.

An instance may also be ``{"image_bytes": {"b64": "..."}}``, under any name, or ``{"data": "..."}``.
https://www.tensorflow.org/tfx/serving/api_rest
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from falconet.native.data import Data, Pixels

from . import answer
from .base64_text import from_base64
from .budget import IMAGES
from .classifier import Prediction
from .errors import RequestError, bad_request

B64, DATA = "b64", "data"


class Instances:
    """A request with any number of images.

    The answer's ``predictions`` have one entry for each: its best label and probability, and all of
    them under ``top``.
    """

    def __init__(self, message: Any) -> None:
        self._message = message

    def images(self) -> list[Data | Pixels]:
        message, self._message = self._message, None
        instances = message.get("instances") if isinstance(message, dict) else None
        if not isinstance(instances, list) or not instances:
            raise bad_request(
                'expected JSON like {"instances": [{"b64": "..."}]}, or with "inputs" as in the '
                "Open Inference Protocol"
            )
        if len(instances) > IMAGES:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"expected at most {IMAGES} instances, got {len(instances)}; split the request",
            )
        return [from_base64(_text(each, i), f"instances[{i}]") for i, each in enumerate(instances)]

    def name(self, index: int) -> str:
        return f"instances[{index}]: "

    def success(
        self, found: Sequence[Sequence[Prediction]], served: answer.Served
    ) -> dict[str, Any]:
        every = [answer.entries(predictions) for predictions in found]
        return {"success": True, "predictions": [{**best[0], "top": best} for best in every]}

    def failure(self, error: RequestError) -> dict[str, Any]:
        return answer.failure(error)


def _text(instance: Any, index: int) -> str:
    """The base64 of an instance."""
    if isinstance(instance, dict):
        for value in (instance, *instance.values()):
            if isinstance(value, dict) and isinstance(value.get(B64), str):
                text: str = value[B64]
                return text
        if isinstance(instance.get(DATA), str):
            return str(instance[DATA])
    raise bad_request(f'instances[{index}]: expected {{"b64": "..."}}')
