"""Waiting until a version of a model has answered its requests."""

import time

from falconet.handler.interval import report_seconds

from .client import Client

POLL_SECONDS = 0.25
# More than two of the workers' reports about what they have in hand may be late.
MARGIN_SECONDS = 0.5


def quiet_seconds() -> float:
    """How long nothing may be heard of a version until it has answered all: two reports, at least.

    Raises:
        ValueError: as :func:`.report_seconds`.
    """
    return 2 * report_seconds() + MARGIN_SECONDS


class Drain:
    """Watches a version that should get no more requests.

    Args:
        client: of the server.
        model: that the version is of.
        version: as the server names it.

    Attributes:
        abandoned: seconds without progress after which the version was given up with unfinished
            requests; ``None`` if it was not.
    """

    def __init__(self, client: Client, model: str, version: str) -> None:
        self.abandoned: float | None = None
        self._client, self._model, self._version = client, model, version
        self._seen: tuple[int, int | None, int] | None = None
        self._since = time.monotonic()
        self._quiet = quiet_seconds()

    def finished(self) -> bool:
        """Whether the version has answered all its requests; to be called repeatedly.

        Raises:
            ServerError: the server does not answer, or has no such version.
        """
        described = self._client.describe(self._model, self._version)
        begun, answered, *_ = self._client.counted(self._model, self._version)
        pending = described["jobQueueStatus"]["pendingRequests"]
        seen = (pending, begun, answered)
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        still = time.monotonic() - self._since
        # Without counts, which are those of our handler, all that can be done is to wait.
        if pending or begun is None or begun > answered:
            # After so long a worker that does not answer is killed by TorchServe itself.
            patience: float = described["responseTimeout"]
            if still <= patience:
                return False
            self.abandoned = patience
            return True
        # What a worker gathers for a batch is neither in the queue nor begun.
        delay: float = described["maxBatchDelay"] / 1000
        return still > self._quiet + delay
