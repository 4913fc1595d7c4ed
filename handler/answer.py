"""The JSON that goes back."""

import json
from collections.abc import Sequence
from typing import Any

from . import open_inference
from .classifier import Prediction
from .errors import RequestError
from .request import Protocol, Request

CONTENT_TYPE = "application/json"


def success(
    request: Request, found: Sequence[Sequence[Prediction]], model: str = "", version: str = ""
) -> bytes:
    """``{"success": true, "predictions": [{"label": ..., "probability": ...}, ...]}``.

    For a KServe v1 request, ``predictions`` has one entry per instance: its best label and
    probability, and all of them under ``top``. For v2 it is as that protocol has it, with the
    model's name and version.
    """
    if request.protocol == "v2":
        return _json(open_inference.answer(found, request.id, model, version))
    lists = [[_entry(prediction) for prediction in picture] for picture in found]
    if request.protocol == "v1":
        return _json({"success": True, "predictions": [{**best[0], "top": best} for best in lists]})
    (only,) = lists
    return _json({"success": True, "predictions": only})


def failure(error: RequestError, protocol: Protocol) -> bytes:
    """``{"success": false, "error": {"code": ..., "message": ...}}``; v2 has the message alone."""
    if protocol == "v2":
        return _json({"error": error.message})
    return _json(
        {"success": False, "error": {"code": error.status.value, "message": error.message}}
    )


def _entry(prediction: Prediction) -> dict[str, Any]:
    return {"label": prediction.label, "probability": round(prediction.probability, 6)}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
