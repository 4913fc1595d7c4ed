"""The JSON that goes back."""

import json
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from .class_number import class_number
from .errors import RequestError
from .labels import labels

if TYPE_CHECKING:
    from .classifier import Prediction

CONTENT_TYPE = "application/json"


class Body(NamedTuple):
    """Of a response."""

    content_type: str
    content: bytes


class Json(str):
    """What is JSON already."""

    __slots__ = ()


@lru_cache(maxsize=1 << 16)
def _quoted(label: str) -> str:
    """A label as JSON, which is the same in every answer."""
    return json.dumps(label, ensure_ascii=False)


def entries(predictions: "Sequence[Prediction]") -> list[dict[str, Any]]:
    """``[{"label": ..., "probability": ...}, ...]``."""
    return [
        {"label": prediction.label, "probability": round(prediction.probability, 6)}
        for prediction in predictions
    ]


def success(predictions: "Sequence[Prediction]") -> Json:
    """``{"success": true, "predictions": [{"label": ..., "probability": ...}, ...]}``.

    As :func:`entries`, in half the time.

    Raises:
        ValueError: a probability is not finite.
    """
    if not all(math.isfinite(prediction.probability) for prediction in predictions):
        raise ValueError("a probability is not finite")
    listed = ",".join(
        f'{{"label":{_quoted(each.label)},"probability":{round(each.probability, 6)!r}}}'
        for each in predictions
    )
    return Json(f'{{"success":true,"predictions":[{listed}]}}')


Form = Callable[["Sequence[Prediction]"], Any]
# What the answer to a single image looks like, by the spec's ``answer``.
FORMS: dict[str, Form] = {
    "falconet": success,
    "torchserve": labels,
    "class_number": class_number,
}


class Served(NamedTuple):
    """The model that answers.

    Attributes:
        model: its name.
        version: likewise.
        form: of the answer to a request in no protocol of its own.
    """

    model: str
    version: str
    form: Form = success


def failure(error: RequestError) -> dict[str, Any]:
    """``{"success": false, "error": {"code": ..., "message": ...}}``."""
    return {"success": False, "error": {"code": error.status.value, "message": error.message}}


def body(answer: Any) -> Body:
    """As :func:`encode`, to be sent."""
    return Body(CONTENT_TYPE, encode(answer))


def encode(answer: Any) -> bytes:
    """As JSON, in UTF-8.

    Raises:
        ValueError: a number is not finite.
    """
    text = answer
    if not isinstance(answer, Json):
        text = json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return bytes(text.encode())
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can bring and UTF-8 cannot
        answer = json.loads(text)
        return json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()
