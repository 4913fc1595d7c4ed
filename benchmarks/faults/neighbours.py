"""Hostile requests among good ones."""

import math
import time
from collections.abc import Callable
from typing import Any

from falconet.serving.readiness import Readiness

from ..load_generator.generator import Generator
from ..rounds import check, quantiles
from .attack import attack
from .hostile import Maker
from .stack import HOSTILE_KEY, Stack

AT_A_TIME = 100
DEVIATIONS = 5  # by which what comes at random may be fewer than on average
SHOWN = 20  # of the requests that were answered as they should not be
SHOWN_BYTES = 500


def measure(
    stack: Stack, rate: float, count: int, good: int, done: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """So many hostile requests, and at least so many good ones meanwhile."""
    pids, memory = stack.pids(), stack.memory()
    requests = iter(Maker(HOSTILE_KEY))
    with Generator(stack.served.target, rate) as generator:
        began = time.monotonic()
        statuses, bad = attack(stack.port, requests, count, done=done)
        enough = (good + DEVIATIONS * math.sqrt(good)) / rate
        while time.monotonic() - began < enough:
            more, worse = attack(stack.port, requests, AT_A_TIME)
            statuses, bad = statuses + more, bad + worse
        answers = generator.stop().answers
    right, errors = check(stack.served, answers)
    by_kind: dict[str, dict[str, int]] = {}
    for (kind, status), number in sorted(statuses.items()):
        by_kind.setdefault(kind, {})[str(status)] = number
    return {
        "good": len(answers),
        "failed": dict(errors),
        "latency": quantiles(right),
        "hostile": statuses.total(),
        "statuses": by_kind,
        "unfair": len(bad),
        "unfair_examples": [
            [
                each.hostile.kind,
                repr(each.hostile.data[:SHOWN_BYTES]),
                repr(each.answer[:SHOWN_BYTES]),
            ]
            for each in bad[:SHOWN]
        ],
        "died": len(pids - stack.pids()),
        "ready": Readiness(stack.server, stack.task.images[0]).check(stack.server.models),
        "memory": [memory, stack.memory()],
    }
