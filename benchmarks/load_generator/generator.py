"""Load from a process of its own, which nothing that goes on in this one slows down."""

import os
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .load import Answer, Target, closed_loop, open_loop, poisson

# More than anything here takes; a generator is stopped when enough has been seen.
AT_MOST_SECONDS = 2 * 3600.0


@dataclass(frozen=True)
class Load:
    """What came of it.

    Attributes:
        answers: in the order in which they came.
        cores: that the generator took, on average.
    """

    answers: list[Answer]
    cores: float


class Generator:
    """Requests at a rate, or as fast as they are answered, from now on.

    Args:
        target: what is asked.
        rate: requests a second on average; with ``None`` each connection sends its next request
            as soon as it has an answer.
        connections: how many.
        seconds: after which it ends by itself.
        seed: of the times of the requests.
    """

    def __init__(
        self,
        target: Target,
        rate: float | None,
        connections: int = 256,
        seconds: float | None = None,
        seed: int = 0,
    ) -> None:
        if rate is None and seconds is None:
            raise ValueError("expected seconds for a closed loop, which cannot be stopped")
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load_generator.generator"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        job = (target, rate, connections, seconds or AT_MOST_SECONDS, seed)
        pickle.dump(job, self._child.stdin)
        self._child.stdin.flush()
        if pickle.load(self._child.stdout) != "begun":
            raise RuntimeError("the generator did not begin")

    def __enter__(self) -> "Generator":
        return self

    def __exit__(self, *_: Any) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            pipe.close()

    def stop(self) -> Load:
        """Send nothing more, and wait for what is on its way."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        return self.wait()

    def wait(self) -> Load:
        """Until it ends by itself."""
        assert self._child.stdout is not None
        return Load(*pickle.load(self._child.stdout))


def main() -> None:
    target, rate, connections, seconds, seed = pickle.load(sys.stdin.buffer)
    over = threading.Event()

    def wait_for_end() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        over.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    schedule = [] if rate is None else poisson(rate, seconds, np.random.default_rng(seed))
    pickle.dump("begun", sys.stdout.buffer)
    sys.stdout.buffer.flush()
    began, used = time.perf_counter(), time.process_time()
    if rate is None:
        answers = closed_loop(target, connections, seconds)
    else:
        answers = open_loop(target, schedule, connections, over=over)
    cores = (time.process_time() - used) / (time.perf_counter() - began)
    pickle.dump((answers, cores), sys.stdout.buffer)


if __name__ == "__main__":
    main()
