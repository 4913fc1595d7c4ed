"""Processes that steps start: stopped when the time is over, so that they can be resumed."""

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..document import ROOT
from .steps import StoppedError

GRACE = 10.0  # seconds for a process to end by itself when it is interrupted


def python(
    module: str,
    arguments: Sequence[str],
    log: Path,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a module to its end.

    Args:
        module: as after ``python -m``.
        arguments: of it.
        log: where its output goes.
        timeout: seconds, after which it is interrupted as by Ctrl-C.
        environment: of it; ``None`` is this process'.

    Raises:
        StoppedError: it was interrupted.
        RuntimeError: it ended with an error; the message has its last lines.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise StoppedError(f"after {timeout:.0f} s; the next call continues it") from None
        finally:  # also if this process is interrupted
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(GRACE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
    if process.returncode:
        last = " | ".join(log.read_text().splitlines()[-3:])
        raise RuntimeError(f"{module} ended with {process.returncode}: {last}")
