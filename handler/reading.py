"""From what TorchServe hands over to a request of one protocol."""

import json
import zlib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from falconet.native.data import Data
from falconet.native.unsupported import IMAGES_IN_BASE64

from . import LENGTH_HEADER, form
from .base64_text import from_base64
from .budget import DIGITS, JSON_NODES, UNPACKED_BYTES
from .errors import RequestError, bad_request, quoted
from .instances import Instances
from .open_inference import OpenInference
from .plain import Plain
from .request import Request

# Where an image may be in a multipart form. "body" is also what TorchServe calls a raw body.
FIELDS = ("image", "data", "body")
# Protocols in JSON, by a name in the message; the last one says what was expected.
PROTOCOLS: tuple[tuple[str, Callable[[Any, Data], Request]], ...] = (
    ("inputs", OpenInference),
    ("instances", lambda message, _: Instances(message)),
)
ENCODING_HEADER = "content-encoding"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP = 16 + zlib.MAX_WBITS


def read(fields: Mapping[str, Any], headers: Mapping[str, Any]) -> Request:
    """Read a request as TorchServe hands it over: values by field name, and HTTP headers.

    Accepts the raw image as the body, compressed by gzip where ``Content-Encoding`` says so; a
    multipart form, read by TorchServe or left to us (:mod:`falconet.handler.form`), with the
    image in the first of :data:`FIELDS` that there is, or in its only field; and the JSON of
    :data:`PROTOCOLS`.

    Raises:
        RequestError: 400 for a request that is none of these, 413 for one that is too much.
    """
    encoding = header(headers, ENCODING_HEADER)
    if encoding is not None and "body" in fields:
        fields = {**fields, "body": _unpacked(fields["body"], *encoding)}
    form_type = header(headers, form.TYPE_HEADER)
    if form_type is not None and isinstance(fields.get("body"), (bytes, bytearray)):
        fields = form.read(fields["body"], form_type[1])
    names = [name for name in FIELDS if name in fields] or list(fields)
    if not names or (len(names) > 1 and names[0] not in FIELDS):
        got = f"the fields {quoted(sorted(fields))}" if fields else "nothing"
        raise bad_request(
            "expected an image as the body (curl -T FILE; with --data-binary also "
            "-H 'Content-Type: image/jpeg') or in one of the form fields "
            f"{', '.join(FIELDS)} (curl -F image=@FILE), got {got}"
        )
    value: Any = fields[names[0]]
    text = isinstance(value, str)  # TorchServe decodes text unless told not to
    if text:
        value = value.encode(errors="surrogatepass")
    if text or form_type is not None or names[0] != "body":
        value = _plain_part(value)
    if not isinstance(value, (bytes, bytearray, memoryview)):
        return _by_name(value, b"")  # TorchServe has read the JSON
    start = bytes(value[:64]).removeprefix(_BYTE_ORDER_MARK).lstrip()[:1]
    # No image format begins with these.
    if start not in (b"{", b"["):
        return Plain(value)
    length = _json_length(headers, len(value))
    return _by_name(_json(bytes(value[:length])), value[length:])


def _plain_part(value: Any) -> Any:
    """Text, or a part of a form, without base64; TorchServe has read the headers that name it."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        start = bytes(value[:16])
        if start.startswith(IMAGES_IN_BASE64):
            return from_base64(bytes(value).decode("latin-1"), "the body")
    return value


def _by_name(message: Any, binary: Data) -> Request:
    if isinstance(message, dict):
        for name, protocol in PROTOCOLS:
            if name in message:
                return protocol(message, binary)
    return Instances(message)


def _json(text: bytes) -> Any:
    nodes = text.count(b",") + text.count(b":") + text.count(b"[") + text.count(b"{")
    if nodes > JSON_NODES:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"expected JSON of at most {JSON_NODES} values, got about {nodes}; send files, or "
            "pixels as binary data",
        )
    try:
        return json.loads(text.removeprefix(_BYTE_ORDER_MARK))
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body looks like JSON, but cannot be read: {error}") from None


def _unpacked(body: Any, header: str, value: str) -> Any:
    """The body without the compression that a header names."""
    if not isinstance(body, (bytes, bytearray, memoryview)):
        return body
    encoding = value.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise RequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"{header}: expected gzip, or none, got {quoted(value)}",
        )
    unpacking = zlib.decompressobj(_GZIP)
    try:
        plain = unpacking.decompress(body, UNPACKED_BYTES + 1)
    except zlib.error as error:
        raise bad_request(f"{header}: expected gzip: {error}") from None
    if len(plain) > UNPACKED_BYTES:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"expected at most {UNPACKED_BYTES} bytes, got more when unpacked",
        )
    if not unpacking.eof or unpacking.unused_data:
        raise bad_request(f"{header}: expected gzip in one piece, and all of it")
    return plain


def _json_length(headers: Mapping[str, Any], length: int) -> int:
    """How much of a body is JSON."""
    found = header(headers, LENGTH_HEADER)
    if found is None:
        return length
    name, value = found
    # Digits of other alphabets are decimal, too.
    if not value.isascii() or not value.isdecimal() or len(value) > DIGITS or int(value) > length:
        raise bad_request(
            f"{name}: expected a number up to the body's {length}, got {quoted(value)}"
        )
    return int(value)


def header(headers: Mapping[str, Any], name: str) -> tuple[str, str] | None:
    """A header's name as it was sent, and its value; ``name`` is in lower case."""
    return next(
        (
            (given, value)
            for given, value in headers.items()
            # A field of a form may come among them, as whatever its JSON is.
            if given.lower() == name and isinstance(value, str)
        ),
        None,
    )
