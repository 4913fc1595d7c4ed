"""Measures the contenders of a job side by side."""

import math
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .job import Contender, Job

BLOCK = 0.005  # seconds that a block of calls lasts at least
CALLS = 3  # and so many of them
COLD = 64 << 20  # bytes that push everything else out of the caches

Values = dict[str, list[float]]  # by contender: the seconds of each round


class Measurement:
    """The seconds that each contender took in each round, and how right its answers were."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.seconds: Values = {contender.name: [] for contender in job.contenders}
        self.calls: dict[str, int] = {}
        self.unlike: dict[str, tuple[float, int] | None] = {}

    def round(self, order: random.Random) -> None:
        """Every contender once, in an order of this round's own."""
        contenders = list(self.job.contenders)
        order.shuffle(contenders)
        for contender in contenders:
            self._block(contender)

    def _block(self, contender: Contender) -> None:
        answer = contender.call()
        if contender.name not in self.calls:
            once = _seconds(contender.call)
            enough = math.ceil(BLOCK / once)
            self.calls[contender.name] = CALLS if self.job.cold else max(CALLS, enough)
        calls = []
        for _ in range(self.calls[contender.name]):
            if self.job.cold:
                _forget()
            calls.append(_seconds(contender.call))
        self.seconds[contender.name].append(float(np.median(calls)))
        self.unlike[contender.name] = self.job.check(contender, answer)

    def ratios(self, name: str) -> list[float]:
        """How many times as long as the first contender's, in each round."""
        first = self.seconds[self.job.contenders[0].name]
        return [a / b for a, b in zip(self.seconds[name], first, strict=True)]

    def result(self) -> dict[str, Any]:
        """What goes into the file."""
        job = self.job
        contenders = []
        for contender in job.contenders:
            unlike = self.unlike[contender.name]
            row = {
                "name": contender.name,
                "ours": contender.name.startswith("Falconet"),
                "milliseconds": spread([1e3 * value for value in self.seconds[contender.name]]),
                "ratio": spread(self.ratios(contender.name)),
                "calls_per_round": self.calls[contender.name],
                "rounds": [_rounded(1e3 * value) for value in self.seconds[contender.name]],
            }
            if contender.note:
                row["note"] = contender.note
            if unlike:
                row["unlike_pillow"] = {"share_of_bytes": unlike[0], "largest": unlike[1]}
            contenders.append(row)
        return {
            "kind": job.kind,
            "size": list(job.size),
            "filter": job.filter,
            "threads": job.threads,
            "images": job.images,
            "cold": job.cold,
            **job.extra,
            "contenders": contenders,
        }


def measure(job: Job, rounds: int, tick: Callable[[], None]) -> Measurement:
    measurement = Measurement(job)
    order = random.Random(0)
    for _ in range(rounds):
        measurement.round(order)
        tick()
    return measurement


def spread(values: list[float]) -> dict[str, float]:
    """The median and the quartiles."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return {"median": _rounded(median), "low": _rounded(low), "high": _rounded(high)}


def _rounded(value: float) -> float:
    """To the digits that may mean something, for a file that can be read."""
    return float(f"{value:.5g}")


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    call()
    return max(time.perf_counter_ns() - start, 1) / 1e9


_others = np.zeros(COLD, np.uint8)


def _forget() -> None:
    np.add(_others, 1, out=_others)
