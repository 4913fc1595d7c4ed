"""A job on the cores of this machine."""

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from queue import SimpleQueue

from .job import Job
from .part import Part
from .summary import Summary


def run(job: Job, parts: Iterable[tuple[int, Part]], workers: int) -> Iterator[Summary]:
    """Score parts, and give the summary of each as it is finished.

    Args:
        job: that the parts are of.
        parts: with their numbers.
        workers: processes, each with a copy of the model and one thread.
    """
    from .worker import Worker

    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(workers))
        idle: SimpleQueue[Worker] = SimpleQueue()
        for _ in range(workers):
            idle.put(stack.enter_context(Worker(job)))
        # Before the workers are closed, so that no thread begins another part with a closed one.
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)

        def score(number: int, part: Part) -> Summary:
            worker = idle.get()
            try:
                return worker.run(number, part)
            finally:
                idle.put(worker)

        left = iter(parts)
        running: set[Future[Summary]] = set()
        while True:
            # So many that no worker waits, and no more, for memory not to grow with their number.
            while len(running) < 2 * workers and (task := next(left, None)) is not None:
                running.add(threads.submit(score, *task))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                yield each.result()
