"""Rounds of load on systems that all run, in turn and in shuffled order, every answer checked."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from rich.progress import Progress

from .load_generator.load import Answer, closed_loop, open_loop, poisson
from .system import System
from .usage import usage

QUANTILES = (50, 90, 99, 99.9)
# Enough to be waited for, rather than the generator's own connections.
OPEN_CONNECTIONS = 256

Row = dict[str, Any]
Random = np.random.Generator


def in_turn(
    rows: Sequence[Row],
    measure: Callable[[Row, Random], Row],
    rounds: int,
    progress: Progress,
    doing: str,
) -> list[Row]:
    """Measure each of the rows once a round; what is found is added as its ``rounds``."""
    random = np.random.default_rng(0)
    found = [{**row, "rounds": []} for row in rows]
    bar = progress.add_task(doing, total=len(found) * rounds)
    for _ in range(rounds):
        for i in random.permutation(len(found)):
            found[i]["rounds"].append(measure(found[i], random))
            progress.advance(bar)
    return found


def closed(
    systems: Sequence[System],
    connections: Sequence[int],
    rounds: int,
    seconds: float,
    progress: Progress,
) -> list[Row]:
    """Throughput and latency with so many connections, each with one request on its way."""
    by_name = {system.name: system for system in systems}

    def one(row: Row, random: Random) -> Row:
        system = by_name[row["system"]]
        load = partial(closed_loop, system.target, row["connections"], seconds, _first(random))
        return measure(system, load)

    rows = [{"system": name, "connections": count} for count in connections for name in by_name]
    return in_turn(rows, one, rounds, progress, "closed loop")


def opened(
    systems: Sequence[System],
    rates: Sequence[Row],
    rounds: int,
    seconds: float,
    progress: Progress,
) -> list[Row]:
    """Latency at fixed rates, whose requests come when they come.

    Args:
        systems: that run.
        rates: name of a ``system``, and the ``rate`` of requests a second.
        rounds: of each.
        seconds: of each round.
        progress: to show it on.
    """
    by_name = {system.name: system for system in systems}

    def one(row: Row, random: Random) -> Row:
        system = by_name[row["system"]]
        schedule = poisson(row["rate"], seconds, random)
        load = partial(open_loop, system.target, schedule, OPEN_CONNECTIONS, _first(random))
        return measure(system, load)

    return in_turn(rates, one, rounds, progress, "open loop")


def highest(found: Sequence[Row]) -> dict[str, tuple[int, float]]:
    """The connections at which each system's median throughput is highest, and that, per second."""
    best: dict[str, tuple[int, float]] = {}
    for each in found:
        throughput = median(one["throughput"] for one in each["rounds"])
        if throughput > best.get(each["system"], (0, 0.0))[1]:
            best[each["system"]] = each["connections"], throughput
    return best


def measure(system: System, load: Callable[[], list[Answer]]) -> Row:
    """Figures of one round; times in seconds, memory in bytes."""
    processes = system.processes()
    before, own = usage(processes), time.process_time()
    began = time.perf_counter()
    answers = load()
    seconds = time.perf_counter() - began
    own = time.process_time() - own
    after = usage(processes)
    good, errors = check(system, answers)
    late = float(np.percentile([answer.sent - answer.intended for answer in answers], 99))
    return {
        "seconds": seconds,
        "requests": len(answers),
        "good": len(good),
        "throughput": len(good) / seconds,
        "errors": errors,
        **quantiles(good),
        "max": max((answer.latency for answer in good), default=float("nan")),
        "server_cores": (after.seconds - before.seconds) / seconds,
        "generator_cores": own / seconds,
        "memory": after.memory,
        "late": late,
    }


def quantiles(answers: Sequence[Answer]) -> dict[str, float]:
    """Of the latency, in seconds."""
    times = [answer.latency for answer in answers] or [float("nan")]
    return {f"p{q}": float(np.percentile(times, q)) for q in QUANTILES}


def check(system: System, answers: Sequence[Answer]) -> tuple[list[Answer], dict[str, int]]:
    """The right answers, and how often each kind of error came instead."""
    found = [(answer, wrong(system, answer)) for answer in answers]
    errors = Counter(error for _, error in found if error)
    return [answer for answer, error in found if not error], dict(errors)


def wrong(system: System, answer: Answer) -> str:
    """What is wrong with an answer; nothing, if it is right."""
    if answer.status != 200:
        return f"status {answer.status}" if answer.status else answer.body.decode()
    try:
        found = system.label(answer.body)
    except (ValueError, LookupError, TypeError, StopIteration):
        return "not an answer"
    return "" if found == system.labels[answer.request] else "another label"


def _first(random: Random) -> int:
    """Where among the requests to begin, so that rounds differ."""
    return int(random.integers(1 << 30))
