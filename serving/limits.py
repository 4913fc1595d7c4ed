"""Limits of a gateway's requests."""

from dataclasses import dataclass
from functools import cached_property

# Bytes of requests that are not small: where each size ends, in nginx.conf by the number of digits,
# and for the last one what is allowed by default.
LARGER = {"middling": 1_000_000, "large": 5_000_000, "very_large": 20_000_000}
# Limits of concurrent requests: level 0 has ``max_concurrency`` and ``memory`` as they are, each
# further level a third of the level before.
LEVEL_COUNT, LEVEL_RATIO = 5, 3
# Concurrent requests for explanations, of all clients and models: each holds up a worker.
EXPLANATIONS = 2
# Of the timeout of a response, the share that a request may wait for those before it.
MAX_WAIT_SHARE = 0.5


@dataclass(frozen=True)
class Limits:
    """Limits of a gateway's requests.

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

    @cached_property
    def concurrency_limits(self) -> dict[str, int]:
        """The maximum number of concurrent requests, by size (``large``) or size and level
        (``small_0``), under the names of the upstreams in nginx.conf.

        The two largest sizes have one limit for all levels, as there is little memory for them.
        """
        share = self.memory * 1_000_000 // (len(LARGER) + 1)
        larger = {name: max(2, share // size) for name, size in LARGER.items()}
        by_level = {"small": self.max_concurrency, "middling": larger.pop("middling")}
        return {
            f"{name}_{level}": max(1, limit // LEVEL_RATIO**level)
            for level in range(LEVEL_COUNT)
            for name, limit in by_level.items()
        } | larger

    def level(self, requests_per_second: float | None) -> int:
        """The level of a model with this throughput; 0 if the throughput is not known.

        It is the lowest at which a small request that waits for all others waits for at most half
        of the timeout of a response.
        """
        if requests_per_second is None:
            return 0
        in_time = requests_per_second * self.timeout * MAX_WAIT_SHARE
        limits = self.concurrency_limits
        fitting = (each for each in range(LEVEL_COUNT) if limits[f"small_{each}"] <= in_time)
        return next(fitting, LEVEL_COUNT - 1)

    def concurrency_limit(self, requests_per_second: float | None) -> int:
        """The maximum number of concurrent small requests for a model with this throughput."""
        return self.concurrency_limits[f"small_{self.level(requests_per_second)}"]
