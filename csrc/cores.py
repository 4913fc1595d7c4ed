"""How many cores there are for this process."""

import math
import os
from pathlib import Path

# Linux's control groups, version 2; a process of a container finds its own limits at the top.
GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


def available_cores() -> int:
    """How many cores this process may use, by its affinity and by its groups' quotas.

    A quota of one and a half cores counts as two.
    """
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return os.cpu_count() or 1
    return min([len(os.sched_getaffinity(0)), *_quotas()])


def own_groups() -> list[Path]:
    """Below :data:`GROUPS`: the process's group, and those that hold it."""
    try:
        lines = OWN_GROUP.read_text().splitlines()
    except OSError:
        return []
    own = [Path(line.removeprefix("0::/")) for line in lines if line.startswith("0::/")]
    return [each for group in own for each in (group, *group.parents)]


def _quotas() -> list[int]:
    """Of the groups that have one."""
    found = []
    for each in own_groups():
        try:
            quota, period = (GROUPS / each / "cpu.max").read_text().split()
        except OSError:  # the top has none, and others may be out of sight
            continue
        if quota != "max":
            found.append(max(1, math.ceil(int(quota) / int(period))))
    return found
