"""The process of `falconet gateway`, which other commands can find and end."""

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .errors import ServerError
from .lock import lock

# Holds the process's number, and is locked as long as it runs.
FILE_NAME = "gateway.pid"
POLL_SECONDS = 0.1
# For another command that just looks.
LOCK_SECONDS = 1.0


class Holder(NamedTuple):
    """Who has a gateway: the number of a process, and its command, ``gateway`` or ``up``."""

    process: int
    command: str


@contextmanager
def hold_pid_lock(folder: Path, command: str) -> Iterator[None]:
    """Say in a folder that its gateway is run by this process, and allow no other.

    Raises:
        ServerError: another one has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = lock(folder / FILE_NAME, LOCK_SECONDS)
    if file is None:
        refuse_another(folder)
        raise ServerError(f"another command is using {folder / FILE_NAME}; repeat this one")
    with file:
        file.truncate(0)
        file.write(f"{os.getpid()} {command}\n")
        file.flush()
        yield


def refuse_another(folder: Path) -> None:
    """Make sure that no gateway has this folder.

    Raises:
        ServerError: one has.
    """
    if (holder := find(folder)) is not None:
        raise ServerError(
            f"a gateway already runs with {folder.parent} (process {holder.process}, falconet "
            f"{holder.command}); stop it first"
        )


def find(folder: Path) -> Holder | None:
    """The process that has the gateway with this folder; ``None`` if there is none.

    By the lock, which ends with the process whatever ends it, not by a number that may come to
    mean another one.
    """
    try:
        with (folder / FILE_NAME).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                process, command = file.read().split()
                return Holder(int(process), command)
    except (FileNotFoundError, ValueError):
        pass
    return None


def stop(folder: Path, timeout: float) -> int | None:
    """End the process in order, and return its number when it has; ``None`` if there is none.

    Args:
        folder: of the gateway.
        timeout: seconds.

    Raises:
        ServerError: it has not ended by then, or it is that of ``falconet up``.
    """
    holder = find(folder)
    if holder is None:
        return None
    if holder.command != "gateway":
        raise ServerError(
            f"the gateway is part of falconet {holder.command} (process {holder.process}), which "
            "runs the server as well; stop that process instead"
        )
    os.kill(holder.process, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while find(folder) == holder:
        if time.monotonic() > deadline:
            raise ServerError(
                f"the gateway (process {holder.process}) has not stopped within {timeout:.0f} s"
            )
        time.sleep(POLL_SECONDS)
    return holder.process
