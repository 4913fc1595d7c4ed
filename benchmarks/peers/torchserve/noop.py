"""A TorchServe handler that does nothing: what is left is the server."""

from typing import Any

ANSWER = b'{"label":"nothing"}'


def handle(data: Any, context: Any) -> list[bytes] | None:
    """Answer every request of a batch with the same bytes."""
    if data is None:
        return None
    for i in range(len(data)):
        context.set_response_content_type(i, "application/json")
    return [ANSWER] * len(data)
