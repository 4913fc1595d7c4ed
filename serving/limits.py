"""What clients may ask of a gateway."""

from dataclasses import dataclass

# Bytes of requests that are not small: where each size ends, in nginx.conf by the number of digits,
# and for the last one what is allowed by default.
LARGER = {"middling": 1_000_000, "large": 5_000_000, "very_large": 20_000_000}
# Limits of concurrent requests: level 0 has ``max_concurrency`` and ``memory`` as they are, each
# further level a third of the level before.
LEVEL_COUNT, LEVEL_RATIO = 5, 3
# Of the timeout of a response, the share that a request may wait for those before it.
MAX_WAIT_SHARE = 0.5


@dataclass(frozen=True)
class Limits:
    """What clients may ask of a gateway.

    Attributes:
        max_body_size: maximum size of a request body, as nginx writes sizes.
        rate_limit: average requests per second of each client; more get status 429.
        burst: requests that may exceed the rate limit for a short time.
        max_concurrency: concurrent requests below 100 kB that TorchServe gets, of all clients, and
            of all models on the same level; more get status 429. TorchServe's queue should hold
            them, or it answers some with status 503.
        memory: MB of concurrent requests. TorchServe ends when its heap, of which it takes four to
            five times as much for them, is full. Small, middling, large and very large requests
            (:data:`LARGER`) get a quarter each, so that none keeps out the others. Models on all
            levels at once may have up to a quarter more.
        timeout: seconds that a response may take.
        max_concurrency_per_address: concurrent requests of one client address; more get status 429.
    """

    max_body_size: str = "20m"
    rate_limit: int = 1000
    burst: int = 1000
    max_concurrency: int = 200
    memory: int = 100
    timeout: int = 60
    max_concurrency_per_address: int = 1000

    def places(self) -> dict[str, int]:
        """How many requests there are at a time, by size, or size and level, as nginx.conf has it.

        All levels share the places of the two largest sizes, as there is little memory for them.
        """
        share = self.memory * 1_000_000 // (len(LARGER) + 1)
        larger = {name: max(2, share // size) for name, size in LARGER.items()}
        by_level = {"small": self.max_concurrency, "middling": larger.pop("middling")}
        return {
            f"{name}_{level}": max(1, places // LEVEL_RATIO**level)
            for level in range(LEVEL_COUNT)
            for name, places in by_level.items()
        } | larger

    def level(self, requests_per_second: float | None) -> int:
        """The level for a model of this throughput.

        The lowest at which a small request that waits for all others waits for at most half of the
        time that a response may take; level 0 where the throughput is not known.
        """
        if requests_per_second is None:
            return 0
        in_time = requests_per_second * self.timeout * MAX_WAIT_SHARE
        places = self.places()
        fitting = (each for each in range(LEVEL_COUNT) if places[f"small_{each}"] <= in_time)
        return next(fitting, LEVEL_COUNT - 1)

    def concurrency(self, requests_per_second: float | None) -> int:
        """How many small requests there are at a time for a model of this throughput."""
        return self.places()[f"small_{self.level(requests_per_second)}"]
