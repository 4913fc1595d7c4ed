"""Reading multipart forms, which a gateway leaves as they are for us.

TorchServe reads them as well where they come with their own content type. It answers a broken one
as if the server were at fault, with 500, and its library for it is old.
"""

import binascii
import re
from collections.abc import Iterator

from falconet.native.data import Data

from .budget import FORM_PARTS, PART_HEADERS
from .errors import bad_request, quoted

# The content type of a form that comes as a plain body; serving/conf/nginx.conf says it.
TYPE_HEADER = "x-form-type"

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"\r\n]{1,200})"|([^\s;,"]{1,200}))', re.IGNORECASE)
_HEADER = re.compile(rb"^(content-[a-z-]+):[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
# A quoted value may hold what separates parameters.
_PARAMETER = re.compile(rb';\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')


def read(body: bytes | bytearray, content_type: str) -> dict[str, Data]:
    """The fields of a form: of each name the last, as TorchServe has it.

    Lines may end in LF alone. A part may be in base64.

    Args:
        body: all of it.
        content_type: with the boundary of its parts.

    Raises:
        RequestError: 400 for what is not a form, or not all of one.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise bad_request(
            f"multipart form: expected a boundary in its type, got {quoted(content_type)}"
        )
    boundary = b"--" + (found[1] or found[2]).encode("utf-8", "surrogateescape")
    return dict(_parts(body, boundary))


def _parts(body: bytes | bytearray, boundary: bytes) -> Iterator[tuple[str, Data]]:
    """Name and value of each part."""
    # A first part begins the body, others a line.
    at = 0 if body.startswith(boundary) else _find(body, b"\n" + boundary, 0) + 1
    view = memoryview(body)
    for _ in range(FORM_PARTS):
        at += len(boundary)
        if body.startswith(b"--", at):
            return
        line = b"\r\n" if body.find(b"\r\n", at) == body.find(b"\n", at) - 1 else b"\n"
        begin = _find(body, line + line, at)
        if begin - at > PART_HEADERS:
            raise bad_request(f"multipart form: expected at most {PART_HEADERS} bytes of headers")
        end = _find(body, line + boundary, begin + len(line))
        headers = {name.lower(): value for name, value in _HEADER.findall(body, at, begin)}
        parameters = {
            name.lower(): in_quotes or plain
            for name, in_quotes, plain in _PARAMETER.findall(
                headers.get(b"content-disposition", b"")
            )
        }
        if not parameters.get(b"name"):
            raise bad_request("multipart form: expected a name in each part's Content-Disposition")
        value: Data = view[begin + 2 * len(line) : end]
        if headers.get(b"content-transfer-encoding", b"").strip().lower() == b"base64":
            value = _decoded(value)
        yield parameters[b"name"].decode("utf-8", "replace"), value
        at = end + len(line)
    raise bad_request(f"multipart form: expected at most {FORM_PARTS} parts")


def _find(body: bytes | bytearray, what: bytes, start: int) -> int:
    at = body.find(what, start)
    if at < 0:
        raise bad_request(
            f"multipart form: it ends without the {what!r} that was expected after byte {start}"
        )
    return at


def _decoded(value: Data) -> bytes:
    try:
        return binascii.a2b_base64(value)
    except binascii.Error as error:
        raise bad_request(f"multipart form: a part is not valid base64: {error}") from None
