"""What can go wrong with a server."""


class ServerError(RuntimeError):
    """A server did not start, is not there, or has died; the message says what to do."""
