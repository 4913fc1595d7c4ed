"""The JSON that goes back."""

import json
from collections.abc import Sequence
from typing import Any

from .classifier import Prediction
from .errors import RequestError

CONTENT_TYPE = "application/json"


def entries(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """``[{"label": ..., "probability": ...}, ...]``."""
    return [
        {"label": prediction.label, "probability": round(prediction.probability, 6)}
        for prediction in predictions
    ]


def failure(error: RequestError) -> dict[str, Any]:
    """``{"success": false, "error": {"code": ..., "message": ...}}``."""
    return {"success": False, "error": {"code": error.status.value, "message": error.message}}


def encode(answer: dict[str, Any]) -> bytes:
    """As JSON, in UTF-8.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can bring and UTF-8 cannot
        return json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()
