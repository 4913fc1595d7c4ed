"""What is wrong with a request."""

from http import HTTPStatus

# A message may quote what a client sent, however much that was.
MAX_MESSAGE = 500


class RequestError(Exception):
    """A request that gets an error as its own answer; its neighbours are not touched.

    Attributes:
        status: the HTTP status of the answer.
        message: for the one who sent it: what was expected, what came, what to do. Cut to
            :data:`MAX_MESSAGE` characters.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        if len(message) > MAX_MESSAGE:
            message = message[: MAX_MESSAGE - 3] + "..."
        super().__init__(message)
        self.status = status
        self.message = message


def bad_request(message: str) -> RequestError:
    """400: what was sent is not as it should be."""
    return RequestError(HTTPStatus.BAD_REQUEST, message)
