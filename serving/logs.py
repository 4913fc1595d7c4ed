"""What a server's logs say about workers that die while they load a model."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.25
# How long to wait for what a worker wrote before it died.
LAST_WORDS_SECONDS = 10.0
# How much of a log an error shows.
LINES = 30
ERROR = re.compile(r"[A-Za-z_.]+(Error|Exception): ")  # as Python ends a traceback
# What TorchServe 0.12 logs when a worker has ended while it loaded a model, for whatever reason;
# its thread, and that of what the worker writes, is called as worker, model and version are.
WORKER_DIED = "error: Worker died."
THREAD = re.compile(r" (W-\d+-(\S+)) ")
# What its workers write first.
WORKER_STARTS = "s_name_part0="


@dataclass(frozen=True)
class Logs:
    """Of one server.

    Attributes:
        folder: that they are in.
    """

    folder: Path

    def tail(self, name: str) -> str:
        """The end of a log, and before it the error that was said last."""
        return _tail(self._lines(name))

    def deaths(self, model: str, version: str) -> int:
        """How often a worker of a version has died while it loaded the model."""
        return [found[2] for found in self._died()].count(f"{model}_{version}")

    def last_words(self) -> str | None:
        """What the first worker that died wrote at the end; ``None`` if all live.

        All of it is there when its successor begins, which TorchServe starts at once.
        """
        died = self._died()
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

    def _died(self) -> list[re.Match[str]]:
        lines = [line for line in self._lines("ts_log.log") if WORKER_DIED in line]
        return [found for found in map(THREAD.search, lines) if found]

    def _lines(self, name: str) -> list[str]:
        try:
            return (self.folder / name).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []


def _tail(lines: list[str]) -> str:
    end = "\n".join(lines[-LINES:])
    errors = [line for line in lines if ERROR.match(line)]
    return f"{errors[-1]}\nIts log ends with:\n{end}" if errors else end
