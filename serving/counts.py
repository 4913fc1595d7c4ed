"""What the workers of a version have counted since they run."""

from typing import NamedTuple


class Counts(NamedTuple):
    """Read from TorchServe's metrics.

    Attributes:
        begun: requests that came to a worker; ``None`` where the handler is not ours, and counts
            nothing.
        answered: requests that got a response, an error or not.
        seconds: that workers have spent on their batches.
    """

    begun: int | None
    answered: int
    seconds: float
