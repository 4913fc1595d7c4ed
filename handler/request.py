"""Finding the pictures in a request."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from .decode import Data
from .errors import RequestError

# Where a picture may be in a multipart form. "body" is also what TorchServe calls a raw body.
FIELDS = ("image", "data", "body")

# Bounds what one request may cost: all its pictures are decoded at the same time.
MAX_INSTANCES = 128


@dataclass(frozen=True)
class Request:
    """The pictures of one request, still encoded.

    Attributes:
        pictures: one, or as many as a KServe request has instances.
        instances: whether it is a KServe request, whose answer has one entry per instance.
    """

    pictures: list[Data]
    instances: bool = False


def parse(fields: Mapping[str, Any]) -> Request:
    """Read a request as TorchServe hands it over: values by field name.

    Accepts the raw picture as the body, a multipart form with the picture in one of
    :data:`FIELDS`, and KServe's v1 JSON, ``{"instances": [{"b64": "..."}]}``.

    Raises:
        RequestError: 400 for a request that is none of these.
    """
    name = next((field for field in FIELDS if field in fields), None)
    if name is None:
        got = f"the fields {sorted(fields)}" if fields else "nothing"
        raise _bad(
            "expected a picture as the body (curl -T FILE; with --data-binary also "
            "-H 'Content-Type: image/jpeg') or in one of the form fields "
            f"{', '.join(FIELDS)} (curl -F image=@FILE), got {got}"
        )
    value = fields[name]
    if isinstance(value, str):  # TorchServe decodes text unless told not to
        value = value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        # No picture format begins with a brace.
        if bytes(value[:64]).lstrip()[:1] != b"{":
            return Request([value])
        try:
            value = json.loads(bytes(value))
        except (ValueError, RecursionError) as error:
            raise _bad(f"the body looks like JSON, but cannot be read: {error}") from None
    return Request(_instances(value), instances=True)


def _instances(value: Any) -> list[Data]:
    instances = value.get("instances") if isinstance(value, dict) else None
    if not isinstance(instances, list) or not instances:
        raise _bad('expected JSON like {"instances": [{"b64": "..."}]}')
    if len(instances) > MAX_INSTANCES:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"expected at most {MAX_INSTANCES} instances, got {len(instances)}; split the request",
        )
    pictures: list[Data] = []
    for i, instance in enumerate(instances):
        text = instance.get("b64") if isinstance(instance, dict) else None
        if not isinstance(text, str):
            raise _bad(f'instances[{i}]: expected {{"b64": "..."}}')
        try:
            pictures.append(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError) as error:
            raise _bad(f"instances[{i}]: not valid base64: {error}") from None
    return pictures


def _bad(message: str) -> RequestError:
    return RequestError(HTTPStatus.BAD_REQUEST, message)
