"""All processes of one server, whatever became of the one that started them."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

# In the environment of a server's first process, and so of all that descend from it. Unlike a
# process id or a start time, it cannot come to mean something else.
MARK = "FALCONET_SERVER"

STOP_SECONDS = 20.0
KILL_SECONDS = 10.0
LOWEST = 19  # of priorities


def belongs(process: psutil.Process, folder: Path) -> bool:
    """Whether a process runs, and is of the server whose mark is ``folder``."""
    try:
        return process.environ().get(MARK) == str(folder)
    except psutil.Error:  # gone, a zombie, or somebody else's
        return False


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every running process of the server whose mark is ``folder``."""
    return [process for process in psutil.process_iter() if belongs(process, folder)]


def has_java(folder: Path) -> bool:
    """Whether TorchServe itself is among them, whose workers serve nobody without it."""
    return any(_is_java(process) for process in processes_of(folder))


def stop_processes(folder: Path, patience: float = STOP_SECONDS) -> None:
    """End all processes of a server, in order if they let us, and wait until none is left.

    Args:
        folder: the server's mark.
        patience: seconds for them to end in order.
    """
    asked: set[psutil.Process] = set()
    deadline = time.monotonic() + patience
    # Again and again: one that was just starting shows up later.
    while running := processes_of(folder):
        # Java ends its workers, and what waits for it ends with it.
        java = [process for process in running if _is_java(process)]
        for process in set(java or running) - asked:
            _send(process.terminate)
            asked.add(process)
        psutil.wait_procs(running, timeout=0.5)
        if time.monotonic() > deadline:
            break
    deadline = time.monotonic() + KILL_SECONDS
    while (running := processes_of(folder)) and time.monotonic() < deadline:
        for process in running:
            _send(process.kill)
        psutil.wait_procs(running, timeout=0.5)


def yield_to_others(pid: int) -> None:
    """Give all threads of a process the lowest priority, if it is there and ours.

    For one that is to end: giving back its memory takes a core for tens of milliseconds.
    """
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), LOWEST)


def _is_java(process: psutil.Process) -> bool:
    try:
        return "org.pytorch.serve.ModelServer" in process.cmdline()
    except psutil.Error:
        return False


def _send(signal: Callable[[], None]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        signal()
