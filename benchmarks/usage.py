"""What processes take of the machine."""

import contextlib
from collections.abc import Iterable
from typing import NamedTuple

import psutil


class Usage(NamedTuple):
    """CPU seconds so far, and memory now: what is theirs alone, shared pages left out, in bytes."""

    seconds: float
    memory: int


def usage(processes: Iterable[psutil.Process]) -> Usage:
    """Of all that still run."""
    seconds, memory = 0.0, 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system
            memory += process.memory_full_info().uss
    return Usage(seconds, memory)
