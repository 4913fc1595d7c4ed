"""Child processes that do the work of steps, each with its own log, time limit and torch flags."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event

from ..document import ROOT
from .steps import CheckError, Findings, SkippedError, StoppedError

GRACE = 9.0  # seconds that a child has to end after it is interrupted; two servers take 6
POLL_SECONDS = 0.1
PR_SET_PDEATHSIG = 1  # of Linux
PARENT = "FALCONET_GPU_PARENT"  # pid of the process that starts children

# Set by the signal handler, to interrupt all children.
interrupted = Event()


def python(
    module: str,
    arguments: Sequence[str],
    log: Path,
    seconds_left: float,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a module, which calls :func:`begin`, to its end.

    Args:
        module: as after ``python -m``.
        arguments: of the module.
        log: file to which its output is added.
        seconds_left: after which it is interrupted as by Ctrl-C.
        environment: of the child; ``None`` for that of this process.

    Raises:
        StoppedError: the child was interrupted.
        RuntimeError: the child ended with an error; the message has its last lines.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**(os.environ if environment is None else environment), PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal is for the parent, which interrupts each child once.
            start_new_session=True,
        )
        try:
            while process.poll() is None and time.monotonic() - began < seconds_left:
                if interrupted.wait(POLL_SECONDS):
                    break
        finally:
            ended = process.poll() is not None
            if not ended:
                _stop(process)
    if not ended:
        raise StoppedError(f"stopped after {time.monotonic() - began:.0f} s")
    if process.returncode:
        last = " | ".join(log.read_text(errors="replace").splitlines()[-3:])
        raise RuntimeError(f"{module} ended with {process.returncode}: {last}; see {log}")


def begin() -> None:
    """Have this child process interrupted when its parent is killed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
        raise KeyboardInterrupt  # the parent was killed before the call of prctl


def measure(
    name: str,
    device: str,
    folder: Path,
    seconds_left: float,
    environment: Mapping[str, str] | None = None,
) -> Findings:
    """Run a measurement of :mod:`.measurement` in a child.

    Raises:
        CheckError, SkippedError: the measurement raised it.
        StoppedError, RuntimeError: as :func:`python`.
    """
    result = folder / f"{name}.result.json"
    result.unlink(missing_ok=True)
    log = folder / "logs" / f"{name}.log"
    arguments = [name, device, str(folder), str(result)]
    python("benchmarks.gpu.measurement", arguments, log, seconds_left, environment)
    content = json.loads(result.read_text())
    result.unlink()
    if content["state"] == "skipped":
        raise SkippedError(content["message"])
    if content["state"] == "failed":
        raise CheckError(content["message"], content["figures"])
    return Findings(content["message"], content["figures"])


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        for pid in list(_family(process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def _family(pid: int) -> Iterator[int]:
    """A process and all that descend from it, also in other sessions, as servers are."""
    yield pid
    with suppress(OSError):  # it has ended
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in file.read_text().split():
                yield from _family(int(child))
