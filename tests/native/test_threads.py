"""Preprocessor on several threads: its pool's, its callers', and what a fork leaves of them."""

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from falconet.native import IMAGENET_MEAN, IMAGENET_STD, Preprocessor, _core

forks = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def core(
    size: tuple[int, int],
    resize: int | None = None,
    filter: str = "bilinear",
    *,
    threads: int,
    min_parallel_bytes: int = 0,
) -> _core.Preprocessor:
    """What a Preprocessor calls, but with a pool that takes a batch however small."""
    return _core.Preprocessor(
        size,
        resize,
        "shorter",
        "center",
        0,
        filter,
        "pillow",
        IMAGENET_MEAN,
        IMAGENET_STD,
        "NCHW",
        "float32",
        threads,
        None,
        min_parallel_bytes=min_parallel_bytes,
    )


def running() -> set[int]:
    """The threads of this process, Python's and others.

    The system still lists a thread for a moment after it has been joined.
    """
    return {thread.id for thread in psutil.Process().threads()}


def wait_until_gone(threads: set[int], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while threads & running():
        assert time.monotonic() < end, "threads of a pool outlive it"
        time.sleep(0.001)


def test_a_batch_below_a_mebibyte_wakes_no_thread() -> None:
    """Counted are the bytes read and written, here 12,288 and 49,152 for each image."""
    image = noise(64, 64)
    preprocess = Preprocessor((64, 64), threads=3)
    before = running()
    preprocess([image] * 17)
    preprocess([noise(1000, 1000)])  # nobody to share it with
    assert not running() - before
    preprocess([image] * 18)
    pool = running() - before
    assert len(pool) == 2  # the caller is the third
    preprocess([image] * 18)
    assert running() - before == pool
    del preprocess
    wait_until_gone(pool)


def test_what_wakes_threads_is_an_argument() -> None:
    image = noise(64, 64)
    before = running()
    barely = core((64, 64), threads=2, min_parallel_bytes=3 * (12_288 + 49_152))
    barely([image] * 2, None)
    assert not running() - before
    barely([image] * 3, None)
    assert len(running() - before) == 1
    with pytest.raises(ValueError, match="min_parallel_bytes: expected 0 to"):
        core((64, 64), threads=2, min_parallel_bytes=-1)


def test_one_thread_starts_no_other() -> None:
    before = running()
    core((64, 64), threads=1)([noise(64, 64)] * 100, None)
    assert not running() - before


def test_a_batch_of_any_sizes_is_its_images_one_by_one() -> None:
    images = [noise(20 + 3 * i, 90 - 4 * i, seed=i) for i in range(15)]
    preprocess = core((24, 30), 28, "bicubic", threads=3)
    before = running()
    batch = preprocess(images, None)
    assert len(running() - before) == 2
    assert batch.shape == (15, 3, 24, 30)
    assert batch.dtype == np.float32
    alone = Preprocessor((24, 30), resize=28, filter="bicubic", threads=1)
    for image, expected in zip(images, batch, strict=True):
        np.testing.assert_array_equal(alone([image])[0], expected)


def test_one_preprocessor_serves_many_threads() -> None:
    images = [noise(40 + 10 * i, 90 - 5 * i, seed=i) for i in range(8)]
    expected = Preprocessor((40, 41), resize=44, threads=1)(images)
    preprocess = core((40, 41), 44, threads=3)
    before = running()
    preprocess(images, None)
    assert len(running() - before) == 2

    def right(i: int) -> bool:
        count = 2 + i % 7
        return np.array_equal(preprocess(images[:count], None), expected[:count])

    with ThreadPoolExecutor(4) as callers:
        found = list(callers.map(right, range(280)))
    assert found == [True] * 280


@pytest.mark.bad_alloc
def test_works_on_after_an_error() -> None:
    preprocess = core((8, 8), threads=3)
    images = [noise(20, 30, seed=i) for i in range(9)]
    before = running()
    expected = preprocess(images, None)
    pool = running() - before
    assert len(pool) == 2
    endless = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (2**24, 2**24, 3))
    for _ in range(3):
        with pytest.raises(MemoryError):
            preprocess([*images, endless], None)
        np.testing.assert_array_equal(preprocess(images, None), expected)
    assert running() - before == pool


@pytest.mark.parametrize("threads", [1, 2])
def test_other_python_threads_run_meanwhile(threads: int) -> None:
    """Without the GIL released, the counting thread would not get a turn during the call."""
    images = [noise(700, 900)] * 150
    preprocess = core((224, 224), 256, "lanczos", threads=threads)
    turns = 0
    stop = threading.Event()

    def count() -> None:
        nonlocal turns
        while not stop.wait(0.001):
            turns += 1

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # a thread that keeps the GIL keeps it to the end of the call
    counter = threading.Thread(target=count)
    try:
        counter.start()
        before = turns
        preprocess(images, None)
        during = turns - before
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        counter.join()
    assert during > 3


class Child:
    """A forked process that does some work and ends at once: with 0 if all went well."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._process = os.fork()
        if self._process == 0:
            status = 1
            try:
                work()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)

    def exit_code(self, seconds: float = 30) -> int:
        """Below zero the signal that ended it: one that hangs is killed."""
        end = time.monotonic() + seconds
        while True:
            process, status = os.waitpid(self._process, os.WNOHANG)
            if process != 0:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                os.kill(self._process, signal.SIGKILL)
                end = float("inf")
            time.sleep(0.005)


FORKS = """
import os, signal, sys
import numpy as np
from falconet.native import Preprocessor

images = [np.zeros((64, 64, 3), np.uint8)] * 18
preprocess = Preprocessor((64, 64), threads=2)
before = len(os.listdir("/proc/self/task"))
preprocess(images)
assert len(os.listdir("/proc/self/task")) == before + 1
child = os.fork()
if child == 0:
    signal.alarm(30)
    assert len(os.listdir("/proc/self/task")) == 1
else:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class TestFork:
    pytestmark = forks

    def test_a_child_forked_during_a_call_begins_anew(self) -> None:
        """The pool's threads are gone there, and its locks held for ever.

        So are, for Python, the references of the thread that called: that object is never
        destroyed in the child.
        """
        preprocess = core((20, 20), threads=2)
        images = [noise(50, 60, seed=i) for i in range(5)]
        expected = preprocess(images, None)
        large = [noise(900, 900)] * 4000
        out = np.full((len(large), 3, 20, 20), np.nan, np.float32)

        def work() -> None:
            before = running()
            assert len(before) == 1
            np.testing.assert_array_equal(preprocess(images, None), expected)
            assert len(running() - before) == 1

        with ThreadPoolExecutor(1) as other:
            call = other.submit(preprocess, large, out)
            while np.isnan(out[0, 0, 0, 0]):
                assert not call.done()
            child = Child(work)
            unfinished = np.isnan(out).any()
            assert child.exit_code() == 0
            call.result()
        assert unfinished, "the call was over before the fork"
        assert not np.isnan(out).any()

    def test_a_child_uses_and_destroys_what_its_parent_started(self) -> None:
        """It must not wait for threads that are not there."""
        images = [noise(50, 60, seed=i) for i in range(5)]
        before = running()
        used, unused = core((20, 20), threads=2), core((20, 20), threads=2)
        expected = used(images, None)
        unused(images, None)
        assert len(running() - before) == 2
        alive = [weakref.ref(used), weakref.ref(unused)]

        def work() -> None:
            nonlocal used, unused
            before = running()
            assert len(before) == 1
            np.testing.assert_array_equal(used(images, None), expected)
            assert len(running() - before) == 1
            del used, unused
            assert [each() for each in alive] == [None, None]
            wait_until_gone(running() - before)

        assert Child(work).exit_code() == 0
        # And here they go on.
        for each in (used, unused):
            np.testing.assert_array_equal(each(images, None), expected)

    def test_a_child_ends_as_any_program_does(self) -> None:
        """By destroying the preprocessor, as its parent does."""
        assert (
            subprocess.run([sys.executable, "-c", FORKS], timeout=60, check=False).returncode == 0
        )
