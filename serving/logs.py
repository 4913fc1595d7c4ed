"""What a server's logs say about workers that die while they load a model."""

import contextlib
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from .log_reader import LogReader

POLL_SECONDS = 0.25
# How long to wait for what a worker wrote before it died.
LAST_WORDS_SECONDS = 10.0
# Of how many starts before this one there are still logs, in logs.1, logs.2 ...
KEPT = 3
# How much of a log an error shows.
LINES = 30
ERROR = re.compile(r"[A-Za-z_.]+(Error|Exception): ")  # as Python ends a traceback
# What TorchServe 0.12 logs when a worker has ended while it loaded a model, for whatever reason;
# its thread, and that of what the worker writes, is called as worker, model and version are.
WORKER_DIED = "error: Worker died."
THREAD = re.compile(r" (W-\d+-(\S+)) ")
SERVER_LOG = "ts_log.log"
# What its workers write first.
WORKER_STARTS = "s_name_part0="


@dataclass(frozen=True)
class Logs:
    """Of one server.

    Attributes:
        folder: that they are in.
    """

    folder: Path

    def begin(self) -> Path:
        """Make the folder anew for a start, and keep those of the last ones; returns it.

        Raises:
            OSError: it cannot be made.
        """
        folders = [self.folder, *(self.folder.with_name(f"logs.{i}") for i in range(1, KEPT + 1))]
        shutil.rmtree(folders[-1], ignore_errors=True)
        for newer, older in reversed([*pairwise(folders)]):
            with contextlib.suppress(FileNotFoundError):
                newer.rename(older)
        self.folder.mkdir()
        return self.folder

    def tail(self, name: str) -> str:
        """The end of a log, and before it the error that was said last."""
        return _tail(self._lines(name))

    def deaths(self) -> "Deaths":
        """Of workers, from now on."""
        return Deaths(self.folder / SERVER_LOG)

    def last_words(self) -> str | None:
        """What the first worker that died wrote at the end; ``None`` if all live.

        All of it is there when its successor begins, which TorchServe starts at once.
        """
        died = _died(self._lines(SERVER_LOG))
        if not died:
            return None
        its = f" {died[0][1]}-stdout "
        deadline = time.monotonic() + LAST_WORDS_SECONDS
        while True:
            lines = [line for line in self._lines("model_log.log") if its in line]
            lines = [line.partition(" MODEL_LOG - ")[2] for line in lines]
            starts = [i for i, line in enumerate(lines) if line.startswith(WORKER_STARTS)]
            if len(starts) > 1:
                return _tail(lines[: starts[1]])
            if time.monotonic() > deadline:
                return _tail(lines)
            time.sleep(POLL_SECONDS)

    def _lines(self, name: str) -> list[str]:
        try:
            return (self.folder / name).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []


class Deaths:
    """Counts workers that die while they load a model, from when it is made.

    Args:
        log: of the server.
    """

    def __init__(self, log: Path) -> None:
        self._log = LogReader(log)
        self._count: Counter[str] = Counter()

    def of(self, model: str, version: str) -> int:
        """How many of this version have died."""
        self._count.update(found[2] for found in _died(self._log.lines()))
        return self._count[f"{model}_{version}"]

    def __enter__(self) -> "Deaths":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._log.close()


def _died(lines: Iterable[str]) -> list[re.Match[str]]:
    """Of a log's lines, the thread of each worker that has died."""
    return [found for line in lines if WORKER_DIED in line and (found := THREAD.search(line))]


def _tail(lines: list[str]) -> str:
    end = "\n".join(lines[-LINES:])
    errors = [line for line in lines if ERROR.match(line)]
    return f"{errors[-1]}\nIts log ends with:\n{end}" if errors else end
