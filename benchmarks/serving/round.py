"""One round: load on one system for some seconds, every answer checked."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .load import Answer
from .system import System
from .usage import usage

QUANTILES = (50, 90, 99, 99.9)
BUSY = 0.95  # of a core: more than this of a generator in one thread, and it was what was measured


def measure(system: System, load: Callable[[], list[Answer]]) -> dict[str, Any]:
    """Figures of one round; times in seconds, memory in bytes."""
    processes = system.processes()
    before, own = usage(processes), time.process_time()
    began = time.perf_counter()
    answers = load()
    seconds = time.perf_counter() - began
    own = time.process_time() - own
    after = usage(processes)
    good, errors = check(system, answers)
    latencies = np.array([answer.latency for answer in good] or [np.nan])
    late = float(np.percentile([answer.sent - answer.intended for answer in answers], 99))
    return {
        "seconds": seconds,
        "requests": len(answers),
        "good": len(good),
        "throughput": len(good) / seconds,
        "errors": dict(errors),
        **{f"p{q}": float(np.percentile(latencies, q)) for q in QUANTILES},
        "max": float(latencies.max()),
        "server_cores": (after.seconds - before.seconds) / seconds,
        "generator_cores": own / seconds,
        "memory": after.memory,
        "late": late,
    }


def check(system: System, answers: Sequence[Answer]) -> tuple[list[Answer], Counter[str]]:
    """The right answers, and how often each kind of error came instead."""
    good: list[Answer] = []
    errors: Counter[str] = Counter()
    for answer in answers:
        if answer.status == 0:
            errors[answer.body.decode()] += 1
        elif answer.status != 200:
            errors[f"status {answer.status}"] += 1
        else:
            try:
                found = system.label(answer.body)
            except (ValueError, LookupError, TypeError, StopIteration):
                errors["not an answer"] += 1
                continue
            if found == system.labels[answer.request]:
                good.append(answer)
            else:
                errors["another label"] += 1
    return good, errors
