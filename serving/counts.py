"""What the workers of a version have counted since the server started."""

from typing import NamedTuple


class Counts(NamedTuple):
    """Read from TorchServe's metrics.

    Attributes:
        begun: requests that came to a worker; ``None`` where the handler is not ours, and counts
            nothing.
        answered: requests that got a response, an error or not.
        succeeded: predictions that got status 200.
        seconds: that workers have spent on batches in which a prediction got status 200.
    """

    begun: int | None
    answered: int
    succeeded: int
    seconds: float
