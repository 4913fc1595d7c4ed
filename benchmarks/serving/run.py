"""Rounds of load on systems that all run, in turn and in shuffled order."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from rich.progress import Progress

from .load import closed_loop, open_loop, poisson
from .round import measure
from .system import System

CONNECTIONS = (1, 2, 4, 8, 16, 32, 64)
FEW_CONNECTIONS = (1, 8, 32)
SHARES = (0.5, 0.7, 0.9)  # of a system's own highest throughput
# Java compiles what it finds to be busy for about so long.
WARM_UP_SECONDS = 10.0
# Enough to be waited for, rather than the generator's own connections.
OPEN_CONNECTIONS = 256

Rounds = dict[str, Any]


def start(
    makers: Sequence[Callable[[], AbstractContextManager[System]]], stack: ExitStack
) -> list[System]:
    """Start systems one after the other, and give each a little to do."""
    systems = []
    for make in makers:
        systems.append(stack.enter_context(make()))
        warm_up(systems[-1])
    return systems


def warm_up(system: System) -> None:
    """Batches of all sizes, and what a JVM compiles first."""
    closed_loop(system.target, 32, WARM_UP_SECONDS)


def closed(
    systems: Sequence[System],
    connections: Sequence[int],
    rounds: int,
    seconds: float,
    progress: Progress,
) -> list[Rounds]:
    """Throughput and latency with so many connections, each with one request on its way."""
    random = np.random.default_rng(0)
    found = [
        {"system": system.name, "connections": count, "rounds": []}
        for count in connections
        for system in systems
    ]
    bar = progress.add_task("closed loop", total=len(found) * rounds)
    for _ in range(rounds):
        for i in random.permutation(len(found)):
            system = systems[i % len(systems)]
            count = found[i]["connections"]
            progress.update(bar, description=f"{system.name}, {count} connections")
            load = partial(closed_loop, system.target, count, seconds, _first(random))
            found[i]["rounds"].append(measure(system, load))
            progress.advance(bar)
    return found


def opened(
    systems: Sequence[System],
    rates: Sequence[tuple[str, float, float]],
    rounds: int,
    seconds: float,
    progress: Progress,
) -> list[Rounds]:
    """Latency at fixed rates, whose requests come when they come.

    Args:
        systems: that run.
        rates: name of a system, share of its highest throughput that this is, requests a second.
        rounds: of each.
        seconds: of each round.
        progress: to show it on.
    """
    random = np.random.default_rng(1)
    by_name = {system.name: system for system in systems}
    found = [
        {"system": name, "share": share, "rate": rate, "rounds": []} for name, share, rate in rates
    ]
    bar = progress.add_task("open loop", total=len(found) * rounds)
    for _ in range(rounds):
        for i in random.permutation(len(found)):
            system = by_name[found[i]["system"]]
            rate = found[i]["rate"]
            progress.update(bar, description=f"{system.name}, {rate:.0f} a second")
            schedule = poisson(rate, seconds, random)
            load = partial(open_loop, system.target, schedule, OPEN_CONNECTIONS, _first(random))
            found[i]["rounds"].append(measure(system, load))
            progress.advance(bar)
    return found


def highest(found: Sequence[Rounds]) -> dict[str, tuple[int, float]]:
    """The connections at which each system's median throughput is highest, and that, per second."""
    best: dict[str, tuple[int, float]] = {}
    for each in found:
        throughput = median(one["throughput"] for one in each["rounds"])
        if throughput > best.get(each["system"], (0, 0.0))[1]:
            best[each["system"]] = each["connections"], throughput
    return best


def rates(
    best: dict[str, tuple[int, float]], ours: str, ceiling: str
) -> Iterator[tuple[str, float, float]]:
    """Each system at shares of its own highest throughput, and the ceiling at ours."""
    for name, (_, throughput) in best.items():
        for share in SHARES:
            yield name, share, share * throughput
    if ours in best and ceiling in best:
        yield ceiling, 0.0, 0.7 * best[ours][1]


def _first(random: np.random.Generator) -> int:
    """Where among the requests to begin, so that rounds differ."""
    return int(random.integers(1 << 30))
