"""Base64 as clients write it."""

import base64

from .errors import bad_request

_SPACE = b" \t\r\n"
_FROM_URL = bytes.maketrans(b"-_", b"+/")
_SCHEME = "data:"


def from_base64(text: object, name: str) -> bytes:
    """The bytes that a string of JSON holds.

    It may be a ``data:`` URI, in lines, without padding, and in the alphabet for URLs.

    Raises:
        RequestError: 400 they are not in base64; ``name`` says whose.
    """
    if not isinstance(text, str):
        raise bad_request(f"{name}: not valid base64: expected a string")
    if text[: len(_SCHEME)].lower() == _SCHEME:
        kind, comma, text = text.partition(",")
        if not comma or not kind.lower().endswith(";base64"):
            raise bad_request(f"{name}: expected data:image/...;base64,...")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # as binascii.Error is
        pass
    try:
        plain = text.encode("ascii").translate(_FROM_URL, _SPACE).rstrip(b"=")
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except ValueError as error:
        raise bad_request(f"{name}: not valid base64: {error}") from None
