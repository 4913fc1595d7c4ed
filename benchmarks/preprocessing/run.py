"""All jobs of one number of threads, in a process that has so many cores."""

import gc
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

from ..images import SIZES
from ..progress import progress
from . import installed, memory, stages, sweep
from .batches import SMALL, batch, new_sizes, normalization
from .job import Job
from .measure import Measurement, measure
from .task import FILTERS, SIDE

# Before a library is loaded: most read it then. A peer works on an image with one thread, and more
# threads share the images.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "VIPS_CONCURRENCY": "1",
}

# The shapes are many, and compared with ourselves only.
ROUNDS_OF_SHAPES = 5


def run(threads: int, rounds: int) -> dict[str, Any]:
    """In a fresh process, because threads and cores are chosen when one starts."""
    os.environ.update(ONE_THREAD)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_run, threads, rounds).result()


def _run(threads: int, rounds: int) -> dict[str, Any]:
    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cores)
    gc.disable()  # it would come in the middle of someone's call
    if threads == 1:
        jobs = _jobs()
    else:
        jobs = [partial(batch, size, filter, threads) for size in SIZES for filter in FILTERS]
    shapes = [partial(sweep.job, *case) for case in sweep.cases()] if threads == 1 else []
    few = min(rounds, ROUNDS_OF_SHAPES)
    with progress() as bars:
        bar = bars.add_task("", total=rounds * (len(jobs) + 1) + few * len(shapes))

        def measured(make: Callable[[], Job], rounds: int = rounds) -> Measurement:
            job = make()
            bars.update(bar, description=str(job))
            measurement = measure(job, rounds, lambda: bars.advance(bar))
            gc.collect()
            return measurement

        result = {
            "jobs": [measured(make).result() for make in jobs],
            "memory": memory.shares(measured(partial(memory.bandwidth, threads))),
            "shapes": [sweep.row(measured(make, few)) for make in shapes],
        }
    return {
        **result,
        "machine": installed.machine(),
        "versions": installed.versions(),
        "missing": installed.missing,
    }


def _jobs() -> list[Callable[[], Job]]:
    return [
        partial(normalization, SMALL, 32),
        *(partial(batch, size, filter, 1) for filter in FILTERS for size in SIZES),
        *(partial(batch, size, "bilinear", 1, cold=True) for size in SIZES),
        new_sizes,
        *(partial(stages.decoding, size) for size in SIZES),
        *(partial(stages.resizing, size, "bilinear") for size in SIZES),
        *(partial(stages.resizing, SIZES[0], filter) for filter in FILTERS[1:]),
        partial(normalization, 1, SIDE),
        *(partial(stages.from_jpeg, size, "bilinear") for size in SIZES),
    ]
