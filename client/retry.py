"""When a request is sent again."""

import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass

# Overload and a restart: the server has not started the request, or a repetition is harmless.
STATUSES = (429, 503)
SECONDS_HEADER = "retry-after"


@dataclass(frozen=True)
class Retry:
    """How often and after which time a request is sent again.

    Attributes:
        attempts: maximum number of times that a request is sent; 1 disables retries.
        first_delay: seconds before the second attempt; twice as many before each later one. The
            delay is randomized, so that clients that failed together do not return together. It is
            up to 1.5 times what the server states in ``Retry-After``, and not less than that.
        max_delay: maximum seconds of a delay. If ``Retry-After`` is longer, the request fails.
    """

    attempts: int = 4
    first_delay: float = 0.1
    max_delay: float = 10.0

    def delay(self, attempt: int, status: int | None, headers: Mapping[str, str]) -> float | None:
        """Seconds until the next attempt; ``None`` if the failure is final.

        Args:
            attempt: number of the attempt that failed, from 1.
            status: of its response; ``None`` if there was no response.
            headers: of its response.
        """
        if attempt >= self.attempts or (status is not None and status not in STATUSES):
            return None
        usual = min(self.max_delay, self.first_delay * 2 ** (attempt - 1))
        stated = 0.0
        with contextlib.suppress(ValueError):  # a date
            stated = max(0.0, float(headers.get(SECONDS_HEADER, 0)))
        if not stated <= self.max_delay:
            return None
        delay: float = max(usual * random.uniform(0.5, 1.0), stated * random.uniform(1.0, 1.5))
        return min(delay, self.max_delay)
