"""Reading multipart forms, which a gateway leaves as they are for us.

TorchServe reads them as well where they come with their own content type. It answers a broken one
as if the server were at fault, with 500, and its library for it is old.
"""

import re

from .decode import Data
from .errors import bad_request

# The content type of a form that comes as a plain body; serving/conf/nginx.conf says it.
TYPE_HEADER = "x-form-type"

# Far more than any form has.
MAX_PARTS = 100

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"\r\n]{1,200})"|([^\s;,"]{1,200}))', re.IGNORECASE)
_NAME = re.compile(rb'^content-disposition:[^\r\n]*;\s*name="?([^"\r\n;]+)', re.IGNORECASE | re.M)


def read(body: bytes | bytearray, content_type: str) -> dict[str, Data]:
    """The fields of a form: of each name the first.

    Args:
        body: all of it.
        content_type: with the boundary of its parts.

    Raises:
        RequestError: 400 for what is not a form, or not all of one.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise bad_request(f"multipart form: expected a boundary in its type, got {content_type!r}")
    boundary = b"--" + (found[1] or found[2]).encode("utf-8", "surrogateescape")
    # A first part begins the body, others a line.
    at = 0 if body.startswith(boundary) else _find(body, b"\r\n" + boundary, 0) + 2
    view = memoryview(body)
    fields: dict[str, Data] = {}
    for _ in range(MAX_PARTS):
        at += len(boundary)
        if body.startswith(b"--", at):
            return fields
        begin = _find(body, b"\r\n\r\n", at)
        end = _find(body, b"\r\n" + boundary, begin + 2)
        name = _NAME.search(body, at, begin)
        if name is None:
            raise bad_request("multipart form: expected a name in each part's Content-Disposition")
        fields.setdefault(bytes(name[1]).decode("utf-8", "replace"), view[begin + 4 : end])
        at = end + 2
    raise bad_request(f"multipart form: expected at most {MAX_PARTS} parts")


def _find(body: bytes | bytearray, what: bytes, start: int) -> int:
    at = body.find(what, start)
    if at < 0:
        raise bad_request(
            f"multipart form: it ends without the {what!r} that was expected after byte {start}"
        )
    return at
