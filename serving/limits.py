"""What clients may ask of a gateway."""

from dataclasses import dataclass

# Bytes of requests that are not small: where each size ends, in nginx.conf by the number of digits,
# and for the last one what is allowed by default.
LARGER = {"middling": 1_000_000, "large": 5_000_000, "very_large": 20_000_000}
# How many concurrent requests are let in: at level 0 as many as there is memory for, at each
# further level a third.
LEVELS, LEVEL_RATIO = 5, 3
# Of the seconds that a response may take, the share that a request may wait for others.
MAX_WAIT = 0.5


@dataclass(frozen=True)
class Limits:
    """What clients may ask of a gateway.

    Attributes:
        body: the largest request, as nginx writes sizes.
        rate: requests a second of each client, on average; above it there is a 429.
        burst: how far a client may be ahead of that.
        in_flight: how many requests of less than 100 kB TorchServe has at a time at most, of all
            clients and models; more get a 429. Its queue should hold them, or it answers some with
            a 503.
        memory: MB of requests that TorchServe has at a time. It ends when its heap, of which it
            takes four to five times as much for them, is full. Small, middling, large and very
            large requests (:data:`LARGER`) get a quarter each, so that none keeps out the others.
        answer: seconds that an answer may take.
        connections: that an address may be answered on at a time; more get a 429.
    """

    body: str = "20m"
    rate: int = 1000
    burst: int = 1000
    in_flight: int = 200
    memory: int = 100
    answer: int = 60
    connections: int = 1000

    def places(self, level: int) -> dict[str, int]:
        """How many requests of each size there are at a time, by its name in nginx.conf."""
        share = self.memory * 1_000_000 // (len(LARGER) + 1)
        larger = {name: max(2, share // size) for name, size in LARGER.items()}
        return {
            name: max(1, places // LEVEL_RATIO**level)
            for name, places in {"small": self.in_flight, **larger}.items()
        }

    def level(self, requests_per_second: float | None) -> int:
        """The level for a model of this throughput.

        The lowest at which a small request that waits for all others waits for at most half of the
        time that a response may take; level 0 where the throughput is not known.
        """
        if requests_per_second is None:
            return 0
        waiting = requests_per_second * self.answer * MAX_WAIT
        fitting = (each for each in range(LEVELS) if self.places(each)["small"] <= waiting)
        return next(fitting, LEVELS - 1)

    def concurrency(self, requests_per_second: float | None) -> int:
        """How many small requests there are at a time for a model of this throughput."""
        return self.places(self.level(requests_per_second))["small"]
