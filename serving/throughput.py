"""How many requests per second a model can answer, measured while it answers them."""

from dataclasses import dataclass, field

from .counts import Counts

# A new value needs as many requests.
MIN_REQUESTS = 5


@dataclass
class Throughput:
    """An estimate for one model: its workers, by the seconds that each of them spends on a request.

    Unlike the number of responses per second it does not depend on how many requests come: a
    server that is hardly used can answer more than it does. It takes no account of what TorchServe
    does between batches.

    Attributes:
        requests_per_second: ``None`` until there have been enough requests.
    """

    requests_per_second: float | None = None
    _version: str = field(default="", repr=False)
    _counts: Counts = field(default=Counts(0, 0, 0.0), repr=False)

    def update(self, version: str, workers: int, counts: Counts) -> None:
        """Take account of what has been answered since the last time.

        Args:
            version: that answers the model's requests.
            workers: of this version that are ready.
            counts: of this version.
        """
        requests = counts.answered - self._counts.answered
        seconds = counts.seconds - self._counts.seconds
        if version != self._version or requests < 0:  # another version, or another server
            self._version, self._counts = version, counts
        elif requests >= MIN_REQUESTS and seconds > 0:
            self._counts = counts
            now = workers * requests / seconds
            before = self.requests_per_second or now
            self.requests_per_second = (before + now) / 2
