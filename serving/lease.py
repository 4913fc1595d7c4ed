"""A promise that a command still runs, which ends by itself where the command does not renew it."""

import time
from dataclasses import dataclass
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
# Of Linux; it goes on while the machine sleeps, and no change of the date changes it.
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
SECONDS = 10.0


@dataclass(frozen=True)
class Lease:
    """Of one machine, as all that look at it are there.

    Attributes:
        until: when it ends, on a clock that begins when the machine does.
        boot: tells apart what was before the machine was started again.
    """

    until: float
    boot: str

    @classmethod
    def for_now(cls, seconds: float = SECONDS) -> "Lease":
        """One that has to be renewed within so many seconds."""
        return cls(time.clock_gettime(CLOCK) + seconds, _boot())

    @property
    def valid(self) -> bool:
        return self.boot == _boot() and time.clock_gettime(CLOCK) < self.until


def _boot() -> str:
    try:
        return BOOT.read_text().strip()
    except OSError:  # not Linux
        return ""
