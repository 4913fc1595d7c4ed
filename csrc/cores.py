"""How many cores there are for this process."""

import math
import os
from pathlib import Path

# Linux's control groups; a process of a container finds its own limits at the top.
GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


def available_cores() -> int:
    """How many cores this process may use, by its affinity and by its groups' quotas.

    A quota of one and a half cores counts as two.
    """
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return os.cpu_count() or 1
    return min([len(os.sched_getaffinity(0)), *_quotas()])


def own_groups(controller: str = "") -> list[Path]:
    """The folders of the process's group, and of those that hold it.

    Args:
        controller: of version 1, such as ``"cpu"`` or ``"memory"``; empty for version 2, which has
            one hierarchy for all.
    """
    try:
        lines = [line.split(":", 2) for line in OWN_GROUP.read_text().splitlines()]
    except OSError:  # not Linux
        return []
    own = [Path(path.lstrip("/")) for _, names, path in lines if controller in names.split(",")]
    top = GROUPS / controller
    return [top / each for group in own for each in (group, *group.parents)]


def _quotas() -> list[int]:
    """Of the groups that have one."""
    found = []
    for group in own_groups():
        try:
            quota, period = (group / "cpu.max").read_text().split()
        except OSError:  # the top has none, and others may be out of sight
            continue
        if quota != "max":
            found.append(_cores(quota, period))
    for group in own_groups("cpu"):
        try:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        except OSError:
            continue
        if int(quota) > 0:  # -1 is none
            found.append(_cores(quota, period))
    return found


def _cores(quota: str, period: str) -> int:
    return max(1, math.ceil(int(quota) / int(period)))
