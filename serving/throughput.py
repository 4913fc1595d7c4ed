"""An estimate of the requests per second that a model can answer."""

from dataclasses import dataclass, field

from .counts import Counts

# Answered requests that a new estimate needs at least.
MIN_REQUESTS = 5


@dataclass
class Throughput:
    """Of one model: its ready workers, divided by the mean seconds of a worker per request.

    Unlike the rate of responses it does not need a busy server. With few requests batches are small
    and the estimate is low. The time that TorchServe needs between batches is not included.
    """

    _workers: int = field(default=0, repr=False)
    _seconds: float | None = None
    _version: str = field(default="", repr=False)
    _counts: Counts = field(default=Counts(0, 0, 0, 0.0), repr=False)
    _of_this_version: bool = field(default=False, repr=False)

    @property
    def requests_per_second(self) -> float | None:
        """``None`` until enough requests have been answered."""
        return self._workers / self._seconds if self._seconds else None

    def update(self, version: str, workers: int, counts: Counts) -> None:
        """Take account of what has been answered since the last time.

        Args:
            version: that answers the model's requests.
            workers: of this version that are ready; at least one.
            counts: of this version.
        """
        self._workers = workers
        if version != self._version or counts.succeeded < self._counts.succeeded:
            # Another version, or another server; what it has answered already counts as well.
            self._version, self._counts = version, Counts(0, 0, 0, 0.0)
            self._of_this_version = False
        requests = counts.succeeded - self._counts.succeeded
        seconds = counts.seconds - self._counts.seconds
        if requests < MIN_REQUESTS or seconds <= 0:
            return
        self._counts = counts
        now = seconds / requests
        # Half the weight to the past, so that one slow batch does not change the limit much.
        before = self._seconds if self._of_this_version and self._seconds else now
        self._seconds, self._of_this_version = (before + now) / 2, True
