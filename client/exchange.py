"""A prediction request, its attempts and its response, for both kinds of client."""

import json
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from .errors import ConnectionFailedError, ResponseError
from .image import Image, tensor
from .result import Prediction, Result
from .retry import Retry

LENGTH_HEADER = "Inference-Header-Content-Length"
ID_HEADER = "x-request-id"
DEFAULT_PATH = "/predict"
MAX_MESSAGE = 500
# A server that is too slow does not become faster by more requests; a repetition does not help the
# others either.
FINAL = (
    httpx.ReadTimeout,
    httpx.DecodingError,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
    httpx.TooManyRedirects,
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
# How the server names an image of the request.
_IMAGE_INDEX = re.compile(r"^inputs\[0\]\[(\d+)\]: ")


@dataclass(frozen=True)
class Request:
    """An HTTP POST request for predictions of so many images."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    images: int


def build_request(
    base: str, images: Sequence[Image], model: str | None, version: str | None
) -> Request:
    """The request for images.

    Args:
        base: URL of a server or gateway; a path, if it has one, is that of a model.
        images: see :func:`.image.tensor`, which also names the errors.
        model: its name; without one, the model of ``base``, or the gateway's default model.
        version: of the model.
    """
    if version is not None and model is None:
        raise ValueError("expected a model with the version")
    description, data = tensor(images)
    head = json.dumps({"inputs": [description]}).encode()
    headers = {LENGTH_HEADER: str(len(head)), "Content-Type": "application/octet-stream"}
    return Request(_url(base, model, version), headers, head + data, len(images))


def _url(base: str, model: str | None, version: str | None) -> str:
    has_path = urlsplit(base).path not in ("", "/")
    if model is None:
        return base if has_path else base.rstrip("/") + DEFAULT_PATH
    if has_path:
        raise ValueError(f"expected a URL without a path, as a model is given, got {base!r}")
    names = (model,) if version is None else (model, version)
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"expected a name of letters, digits and ._- that begins with none of .-, "
                f"got {name!r}"
            )
    return "/".join([base.rstrip("/"), "predictions", *names])


def exchange(
    request: Request, retry: Retry
) -> "Generator[float, httpx.Response | httpx.RequestError, list[Result]]":
    """The attempts to send a request.

    Yields the seconds to wait before each attempt. Is sent its response, or the error instead of
    it. Returns the results.

    Raises:
        ResponseError, ConnectionFailedError: the last attempt failed.
    """
    delay, attempt = 0.0, 0
    while True:
        outcome = yield delay
        attempt += 1
        if isinstance(outcome, httpx.Response):
            try:
                return parse_response(
                    outcome.status_code, outcome.headers, outcome.content, request.images
                )
            except ResponseError:
                following = retry.delay(attempt, outcome.status_code, outcome.headers)
                if following is None:
                    raise
        else:
            following = retry.delay(attempt, None, {})
            if following is None or isinstance(outcome, FINAL):
                reason = str(outcome) or type(outcome).__name__
                raise ConnectionFailedError(f"{request.url}: {reason}") from outcome
        delay = following


def parse_response(
    status: int, headers: Mapping[str, str], body: bytes, images: int
) -> list[Result]:
    """The results of a response, one per image.

    Args:
        status, headers, body: of the response.
        images: their number in the request.

    Raises:
        ResponseError: the server responded with an error, or with something else than predictions.
    """
    request_id = headers.get(ID_HEADER, "")
    try:
        content: Any = json.loads(body)
        if status == 200:
            return _results(content, request_id, images)
        error = content["error"]
        message = error["message"] if isinstance(error, dict) else str(error)
        message = _IMAGE_INDEX.sub("" if images == 1 else r"image \1: ", message)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        text = body[:MAX_MESSAGE].decode(errors="replace").strip()
        message = f"expected predictions from a Falconet server, got: {text or 'nothing'}"
    raise ResponseError(status, message, request_id)


def _results(content: Any, request_id: str, images: int) -> list[Result]:
    outputs = {output["name"]: output for output in content["outputs"]}
    count, classes = outputs["label"]["shape"]
    pairs = [
        Prediction(label, probability)
        for label, probability in zip(
            outputs["label"]["data"], outputs["probability"]["data"], strict=True
        )
    ]
    if count != images or classes < 1 or len(pairs) != count * classes:
        raise ValueError(f"expected predictions for {images} images")
    model, version = content["model_name"], content["model_version"]
    return [
        Result(tuple(pairs[i * classes : (i + 1) * classes]), model, version, request_id)
        for i in range(count)
    ]
