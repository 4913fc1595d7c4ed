"""A process that scores parts; if it dies, another one takes its place."""

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import TYPE_CHECKING

from falconet.handler.precision import Precision

from .job import Job
from .part import Part
from .readers import read
from .row import Row
from .summary import Summary

if TYPE_CHECKING:
    from .scorer import Scorer

ATTEMPTS = 2  # of a part, before it is divided to find the image that kills the process
KILLED = "the process that scored this image was killed; it may need more memory than there is"

_scorer: "Scorer | None" = None  # of a child process


class Worker:
    """Scores one part after the other in a child process, which holds the model.

    Args:
        job: that the parts are of.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._closed = False
        self._lock = Lock()
        self._start()

    def run(self, number: int, part: Part) -> Summary:
        """Score a part, and write its rows.

        Raises:
            ValueError, OSError, RuntimeError: the model cannot be loaded, or the rows not written.
        """
        rows = self._rows(part)
        return self._job.write(number, rows)

    def _rows(self, part: Part) -> list[Row]:
        for _ in range(ATTEMPTS):
            self._wait_opened()
            try:
                rows: list[Row] = self._pool.submit(_score, part).result()
                return rows
            except BrokenProcessPool:
                self._start()
        keys = self._keys(part)
        if len(keys) <= 1:
            return [Row.failed(key, KILLED, 500) for key in keys]
        return [row for half in part.halves(len(keys)) for row in self._rows(half)]

    def _keys(self, part: Part) -> list[str]:
        """Of a part's images; that of the part, if reading alone kills the process."""
        try:
            return self._pool.submit(_keys, part).result()
        except BrokenProcessPool:
            self._start()
            return [part.place]

    def _start(self) -> None:
        """Begin with a new process.

        Raises:
            RuntimeError: the worker is closed.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the worker is closed")
            self._pool = _pool()
            job = self._job
            self._opened = self._pool.submit(_open, job.archive, job.digest, job.precision)

    def _wait_opened(self) -> None:
        for _ in range(ATTEMPTS):
            try:
                return self._opened.result()
            except BrokenProcessPool:
                self._start()
        raise RuntimeError(
            f"{self._job.archive}: the process that loads the model was killed {ATTEMPTS} times; "
            "it may need more memory than there is, so try fewer --workers"
        )

    def close(self) -> None:
        """End the process, without waiting for a part."""
        with self._lock:
            self._closed = True
        for process in list((self._pool._processes or {}).values()):
            process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def find_precision(archive: Path) -> Precision:
    """See :func:`.model.archive_precision`; in a child process, as this one needs no torch."""
    with _pool() as pool:
        return pool.submit(_find_precision, archive).result()


def _find_precision(archive: Path) -> Precision:
    from .model import archive_precision

    return archive_precision(archive)


def _pool() -> ProcessPoolExecutor:
    """One child process, forked from a process without threads that has imported what it needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.scorer", f"{__package__}.model"])
    return ProcessPoolExecutor(1, context, initializer=_end_with_parent)


def _open(archive: str, expected: str, precision: Precision) -> None:
    """Load the model of a child process, which is kept until it ends."""
    import torch

    from falconet.handler.pillow import quiet_pillow

    from .archive import digest
    from .model import open_archive
    from .scorer import Scorer

    global _scorer
    if digest(Path(archive)) != expected:
        raise ValueError(f"{archive}: is not the archive that this job began with")
    torch.set_num_threads(1)
    quiet_pillow()
    with open_archive(Path(archive), precision) as opened:
        _scorer = Scorer(opened.classifier, opened.max_pixels)


def _end_with_parent() -> None:
    """Leave it to the parent to end this process; if that is killed, it would wait forever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which the parent gets as well
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch(sentinel: int) -> None:
        wait([sentinel])
        os._exit(1)

    Thread(target=watch, args=[parent.sentinel], daemon=True).start()


def _keys(part: Part) -> list[str]:
    return [item.key for item in read(part)]


def _score(part: Part) -> list[Row]:
    assert _scorer is not None
    return list(_scorer.score(read(part)))
