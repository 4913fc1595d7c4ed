"""Far more requests than can be answered, for some time."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..load_generator.generator import Generator
from ..rounds import check, quantiles
from .figures import by_window, calm_after, count_by_status, lost, refused
from .refusal import bare_cpu_seconds
from .stack import Stack

FACTOR = 5
CONNECTIONS = 512  # far more than the gateway lets in at a time
BUSY_CONNECTIONS = 64  # with which throughput is highest, or nearly
CALM_RATE = 50.0  # requests a second, before, during and after
BEFORE_SECONDS = 4.0
AFTER_SECONDS = 6.0
WINDOW = 0.5  # seconds
ROUNDS = 5
# Takes the given share of a core, and does nothing with it.
SPIN = """
import sys, time
share, began = float(sys.argv[1]), time.monotonic()
while True:
    while time.process_time() < share * (time.monotonic() - began):
        pass
    time.sleep(0.001)
"""


def measure(stack: Stack, seconds: float) -> dict[str, Any]:
    """Capacity, and what is left of it at many times the load; times in seconds.

    To send more, the generator takes more of the cores. So that this is not taken for the server's
    doing, goodput is compared with the capacity beside a process that spins for as much; the two
    in turn, :data:`ROUNDS` times for a fifth of the seconds, as a machine's speed drifts.
    """
    system = stack.served
    alone = capacity(stack, seconds)
    rate = FACTOR * alone["throughput"]
    with Generator(system.target, CALM_RATE, 32, seed=1) as others:
        time.sleep(BEFORE_SECONDS)
        with Generator(system.target, rate, CONNECTIONS, seconds, seed=2) as generator:
            flood = generator.wait()
        time.sleep(AFTER_SECONDS)
        calm = others.stop().answers
    begun = min(answer.sent for answer in flood.answers)
    ended = max(answer.sent for answer in flood.answers)
    more = max(0.0, flood.cores - alone["generator_cores"])
    rounds = [goodput(stack, rate, more, seconds / ROUNDS, seed) for seed in range(ROUNDS)]
    good, _ = check(system, flood.answers)
    bad = lost(system, flood.answers)
    return {
        "seconds": ended - begun,
        "capacity": alone,
        "rounds": rounds,
        "bare_refusal_cpu_seconds": bare_cpu_seconds(
            system.target, rate, CONNECTIONS, seconds / ROUNDS
        ),
        "sent": len(flood.answers) / (ended - begun),
        "generator_cores": flood.cores,
        "latency": quantiles(good),
        "refused": count_by_status(bad),
        "refused_otherwise": sum(not refused(answer) for answer in bad),
        "recovery": calm_after(system, calm, begun, ended, WINDOW),
        "seen": by_window(system, [*flood.answers, *calm], begun, WINDOW),
    }


def goodput(stack: Stack, rate: float, cores: float, seconds: float, seed: int) -> dict[str, float]:
    """Right answers a second under a flood, and as many as there can be beside what takes cores.

    Also the CPU seconds that nginx takes for each refusal: what it takes under the flood, less what
    it takes for each answer where nothing is refused.
    """
    begun = stack.nginx_cpu_seconds()
    with Generator(stack.served.target, rate, CONNECTIONS, seconds, seed) as generator:
        answers = generator.wait().answers
    flooded = stack.nginx_cpu_seconds()
    good, _ = check(stack.served, answers)
    sent = [answer.sent for answer in answers]
    with spinning(cores):
        beside = capacity(stack, seconds)
    for_answers = (
        (stack.nginx_cpu_seconds() - flooded) * len(good) / (beside["throughput"] * seconds)
    )
    return {
        "goodput": len(good) / (max(sent) - min(sent)),
        "capacity": beside["throughput"],
        "refusal_cpu_seconds": (flooded - begun - for_answers) / (len(answers) - len(good)),
    }


def capacity(stack: Stack, seconds: float) -> dict[str, float]:
    """Right answers a second while there is always something to do."""
    with Generator(stack.served.target, None, BUSY_CONNECTIONS, seconds) as generator:
        load = generator.wait()
    good, _ = check(stack.served, load.answers)
    return {
        "throughput": len(good) / seconds,
        "generator_cores": load.cores,
        **quantiles(good),
    }


@contextmanager
def spinning(share: float) -> Iterator[None]:
    """A process beside us that takes a share of a core."""
    child = subprocess.Popen([sys.executable, "-c", SPIN, str(share)])
    try:
        yield
    finally:
        child.kill()
        child.wait()
