"""Reading a gateway's keys and certificate anew, while it runs."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from . import json_file
from .certificate import Certificate
from .errors import ServerError
from .gateway import Gateway

# Says what became of the last time, for the one who asked for it.
FILE_NAME = "reload.json"
SIGNAL = signal.SIGUSR1
PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.1


class Reload:
    """Waits for a signal, and then does it once.

    Args:
        keys: see :meth:`.Gateway.start`.
        certificate: likewise.
    """

    def __init__(self, keys: Path, certificate: Certificate | None) -> None:
        self._keys, self._certificate = keys, certificate
        self._requested = False

    def listen(self) -> None:
        """Take :data:`SIGNAL` for it, and SIGHUP where no terminal is there to send it."""
        signal.signal(SIGNAL, self._want)
        if sys.stdin is None or not sys.stdin.isatty():
            signal.signal(signal.SIGHUP, self._want)

    def _want(self, *_: object) -> None:
        self._requested = True

    def run_if_requested(self, gateway: Gateway) -> None:
        """Do it, if it is requested.

        Raises:
            OSError, ServerError: a file is not as it should be; what was read before stays.
        """
        if not self._requested:
            return
        self._requested = False
        wrong = ""
        try:
            gateway.reload(self._keys, self._certificate)
        except (OSError, ServerError) as error:
            wrong = str(error)
            raise
        finally:
            path = gateway.folder / FILE_NAME
            json_file.write(path, {"count": _count(path) + 1, "error": wrong})


def ask_to_reload(folder: Path, process: int) -> None:
    """Have the process that runs a gateway reload it, and return when it has.

    Args:
        folder: of the gateway.
        process: its number.

    Raises:
        ServerError: a file is not as it should be, or nothing happens.
    """
    path = folder / FILE_NAME
    before = _count(path)
    os.kill(process, SIGNAL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _count(path) == before:
        if time.monotonic() > deadline:
            raise ServerError(
                f"the gateway (process {process}) has not reloaded within {PATIENCE_SECONDS:.0f} "
                "seconds"
            )
        time.sleep(POLL_SECONDS)
    if error := json.loads(path.read_text())["error"]:
        raise ServerError(
            f"reload failed; the gateway still uses the previous keys and certificate: {error}"
        )


def _count(path: Path) -> int:
    try:
        return int(json.loads(path.read_text())["count"])
    except (FileNotFoundError, ValueError, LookupError):  # none, or cut off by a full disk
        return 0
