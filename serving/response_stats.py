"""What a version has answered: how many, how many failed, and how long they took."""

import math
from collections import Counter
from dataclasses import dataclass, field
from statistics import NormalDist

Z_99 = NormalDist().inv_cdf(0.995)  # two-sided
# Each bin of the histogram is as much longer than the one before.
BIN_RATIO = 1.02
MIN_SECONDS = 1e-4


@dataclass
class ResponseStats:
    """Counted one by one; of their times, a histogram is kept, whose size does not grow with them.

    Attributes:
        count: all of them.
        failed: those with a status of 5xx.
        bins: the others, by the logarithm of their seconds.
    """

    count: int = 0
    failed: int = 0
    bins: Counter[int] = field(default_factory=Counter)

    def add(self, status: int, seconds: float) -> None:
        self.count += 1
        if status >= 500:
            self.failed += 1
        else:
            ratio = max(seconds, MIN_SECONDS) / MIN_SECONDS
            self.bins[round(math.log(ratio) / math.log(BIN_RATIO))] += 1

    def percentile(self, percent: float) -> float:
        """Seconds that so many percent of the answers took at most, to 1 %; 0 where none came."""
        rest = self.bins.total() * percent / 100
        for each in sorted(self.bins):
            rest -= self.bins[each]
            if rest <= 0:
                return MIN_SECONDS * float(BIN_RATIO**each)
        return 0.0

    @property
    def failure_rate(self) -> float:
        return self.failed / self.count if self.count else 0.0

    def failure_rate_interval(self) -> tuple[float, float]:
        """Between which the rate lies that the failures are a sample of, with 99 % confidence.

        Wilson's score interval (Journal of the American Statistical Association 22, 1927); from 0
        to 1 where nothing was answered.
        """
        if not self.count:
            return 0.0, 1.0
        n, z = self.count, Z_99
        middle = self.failure_rate + z * z / (2 * n)
        half = z * math.sqrt(self.failure_rate * (1 - self.failure_rate) / n + z * z / (4 * n * n))
        whole = 1 + z * z / n
        low = (middle - half) / whole if self.failed else 0.0
        high = (middle + half) / whole if self.failed < n else 1.0
        return low, high

    def __str__(self) -> str:
        return (
            f"{self.count} responses, {self.failed} failed, p95 {1e3 * self.percentile(95):.0f} ms"
        )
