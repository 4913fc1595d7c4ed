"""Errors of the client."""


class ClientError(RuntimeError):
    """Base of all errors that a request can raise."""


class ConnectionFailedError(ClientError):
    """The server cannot be reached, or the response did not arrive in time."""


class ResponseError(ClientError):
    """The server responded with an error.

    Attributes:
        status: HTTP status, for example 422 for a truncated image.
        message: text of the server.
        request_id: of the request, as in the gateway's access log; empty without a gateway.
    """

    def __init__(self, status: int, message: str, request_id: str = "") -> None:
        super().__init__(f"status {status}: {message}")
        self.status, self.message, self.request_id = status, message, request_id
