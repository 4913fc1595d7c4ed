"""What is wrong with a request."""

import reprlib
from http import HTTPStatus

from falconet.native.errors import (
    DamagedImageError,
    EmptyImageError,
    ImageError,
    TooManyPixelsError,
    UnsupportedFormatError,
)

# A message may quote what a client sent, however much that was.
MAX_MESSAGE = 500

STATUS = {
    EmptyImageError: HTTPStatus.BAD_REQUEST,
    TooManyPixelsError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedFormatError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    DamagedImageError: HTTPStatus.UNPROCESSABLE_ENTITY,
}

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 100


class RequestError(Exception):
    """A request that gets an error as its own answer; its neighbours are not touched.

    Attributes:
        status: the HTTP status of the answer.
        message: for the one who sent it: what was expected, what came, what to do. Cut to
            :data:`MAX_MESSAGE` characters.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        # A client may have sent half of a surrogate pair, which no answer can hold.
        message = message.encode(errors="replace").decode()
        if len(message) > MAX_MESSAGE:
            message = message[: MAX_MESSAGE - 3] + "..."
        super().__init__(message)
        self.status = status
        self.message = message


def bad_request(message: str) -> RequestError:
    """400: what was sent is not as it should be."""
    return RequestError(HTTPStatus.BAD_REQUEST, message)


def request_error(error: ImageError) -> RequestError:
    """What a client is told of an image that was not decoded."""
    return RequestError(STATUS[type(error)], str(error))


def quoted(value: object) -> str:
    """What a client sent, for a message: as Python writes it, cut where it is long or deep."""
    return _repr.repr(value)
