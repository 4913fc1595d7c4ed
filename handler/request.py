"""Finding the pictures in a request."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from . import form, open_inference
from .decode import Data, Pixels, from_base64
from .errors import RequestError, bad_request

# Where a picture may be in a multipart form. "body" is also what TorchServe calls a raw body.
FIELDS = ("image", "data", "body")

# Bounds what one request may cost: all its pictures are decoded at the same time.
MAX_PICTURES = 128

Protocol = Literal["plain", "v1", "v2"]


@dataclass(frozen=True)
class Request:
    """What a request says, not yet looked at closely.

    Attributes:
        protocol: one picture, ``"plain"``; or KServe's ``"v1"`` or ``"v2"``, whose requests and
            answers have any number of them.
        content: a picture file, or the JSON.
        binary: what follows the JSON; of v2.
    """

    protocol: Protocol
    content: Any
    binary: Data = b""

    @property
    def id(self) -> str | None:
        """What a v2 request calls itself, and its answer as well."""
        id = self.content.get("id") if self.protocol == "v2" else None
        return id if isinstance(id, str) else None

    def pictures(self) -> list[Data | Pixels]:
        """Files, or pixels.

        Raises:
            RequestError: 400 for a request that is not as its protocol has it; 413 for more than
                :data:`MAX_PICTURES`.
        """
        if self.protocol == "plain":
            return [self.content]
        if self.protocol == "v2":
            return open_inference.pictures(self.content, self.binary, MAX_PICTURES)
        return _instances(self.content)

    def name(self, index: int) -> str:
        """What a message about one of its pictures begins with."""
        names = {"plain": "", "v1": f"instances[{index}]: ", "v2": f"inputs[0][{index}]: "}
        return names[self.protocol]


def parse(fields: Mapping[str, Any], headers: Mapping[str, Any]) -> Request:
    """Read a request as TorchServe hands it over: values by field name, and HTTP headers.

    Accepts the raw picture as the body, a multipart form with the picture in one of
    :data:`FIELDS`, read by TorchServe or left to us (:mod:`falconet.handler.form`), KServe's v1
    JSON, ``{"instances": [{"b64": "..."}]}``, and v2, see :mod:`falconet.handler.open_inference`.

    Raises:
        RequestError: 400 for a request that is none of these.
    """
    form_type = _header(headers, form.TYPE_HEADER)
    if form_type is not None and isinstance(fields.get("body"), (bytes, bytearray)):
        fields = form.read(fields["body"], form_type[1])
    name = next((field for field in FIELDS if field in fields), None)
    if name is None:
        got = f"the fields {sorted(fields)}" if fields else "nothing"
        raise bad_request(
            "expected a picture as the body (curl -T FILE; with --data-binary also "
            "-H 'Content-Type: image/jpeg') or in one of the form fields "
            f"{', '.join(FIELDS)} (curl -F image=@FILE), got {got}"
        )
    value: Any = fields[name]
    binary: Data = b""
    if isinstance(value, str):  # TorchServe decodes text unless told not to
        value = value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        # No picture format begins with a brace.
        if bytes(value[:64]).lstrip()[:1] != b"{":
            return Request("plain", value)
        length = _json_length(headers, len(value))
        value, binary = value[:length], value[length:]
        try:
            value = json.loads(bytes(value))
        except (ValueError, RecursionError) as error:
            raise bad_request(f"the body looks like JSON, but cannot be read: {error}") from None
    if isinstance(value, dict) and "inputs" in value:
        return Request("v2", value, binary)
    return Request("v1", value)


def _json_length(headers: Mapping[str, Any], length: int) -> int:
    """How much of a body is JSON."""
    found = _header(headers, open_inference.LENGTH_HEADER)
    if found is None:
        return length
    name, value = found
    if not value.isdecimal() or int(value) > length:
        raise bad_request(f"{name}: expected a number up to the body's {length}, got {value!r}")
    return int(value)


def _header(headers: Mapping[str, Any], name: str) -> tuple[str, str] | None:
    """A header's name as it was sent, and its value; ``name`` is in lower case."""
    return next((pair for pair in headers.items() if pair[0].lower() == name), None)


def _instances(value: Any) -> list[Data | Pixels]:
    instances = value.get("instances") if isinstance(value, dict) else None
    if not isinstance(instances, list) or not instances:
        raise bad_request(
            'expected JSON like {"instances": [{"b64": "..."}]}, or with "inputs" as in the Open '
            "Inference Protocol"
        )
    if len(instances) > MAX_PICTURES:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"expected at most {MAX_PICTURES} instances, got {len(instances)}; split the request",
        )
    pictures: list[Data | Pixels] = []
    for i, instance in enumerate(instances):
        text = instance.get("b64") if isinstance(instance, dict) else None
        if not isinstance(text, str):
            raise bad_request(f'instances[{i}]: expected {{"b64": "..."}}')
        pictures.append(from_base64(text, f"instances[{i}]"))
    return pictures
