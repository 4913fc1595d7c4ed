"""The JSON that goes back."""

import json
from typing import Any

from .classifier import Prediction
from .errors import RequestError

CONTENT_TYPE = "application/json"


def success(pictures: list[list[Prediction]], *, instances: bool) -> bytes:
    """``{"success": true, "predictions": [{"label": ..., "probability": ...}, ...]}``.

    For a KServe request, ``predictions`` has one entry per instance: its best label and
    probability, and all of them under ``top``.
    """
    lists = [[_entry(prediction) for prediction in picture] for picture in pictures]
    if instances:
        return _json({"success": True, "predictions": [{**best[0], "top": best} for best in lists]})
    (only,) = lists
    return _json({"success": True, "predictions": only})


def failure(error: RequestError) -> bytes:
    """``{"success": false, "error": {"code": ..., "message": ...}}``."""
    return _json(
        {"success": False, "error": {"code": error.status.value, "message": error.message}}
    )


def _entry(prediction: Prediction) -> dict[str, Any]:
    return {"label": prediction.label, "probability": round(prediction.probability, 6)}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
