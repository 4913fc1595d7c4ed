"""Our fastest implementation against plain C++, on images of any shape."""

from typing import Any

import numpy as np

from falconet.native import implementations

from .batches import ours
from .job import Job
from .measure import Measurement, spread

# Height, width.
SHAPES = (
    (1, 1),
    (2, 3),
    (7, 5),
    (16, 16),
    (31, 33),
    (64, 64),
    (1, 8000),
    (8000, 1),
    (100, 3000),
    (3000, 100),
    (375, 500),
    (1000, 1000),
    (2400, 1080),
    (8000, 8000),
)

# The size of the result and what the shorter side is resized to; None squashes.
TARGETS = (((224, 224), 256), ((224, 224), None), ((32, 32), None), ((640, 480), 640))
CHANNELS = (1, 3)
FILTERS = ("bilinear", "lanczos")


def cases() -> list[tuple[Any, ...]]:
    return [
        (shape, channels, size, resize, filter)
        for shape in SHAPES
        for channels in CHANNELS
        for size, resize in TARGETS
        for filter in FILTERS
        if filter == "bilinear" or shape != SHAPES[-1]  # which plain C++ takes seconds for
    ]


def job(
    shape: tuple[int, int],
    channels: int,
    size: tuple[int, int],
    resize: int | None,
    filter: str,
) -> Job:
    image = np.random.default_rng(0).integers(0, 256, (*shape, channels), np.uint8)
    contenders = [
        ours([image], size, resize, filter, threads=1, implementation=name)
        for name in (implementations()[0], "scalar")
    ]
    extra = {"image": [*shape, channels], "target": list(size), "resize": resize}
    return Job("sweep", contenders, filter=filter, extra=extra)


def row(measurement: Measurement) -> dict[str, Any]:
    """How many times as long plain C++ takes; below 1, what should be fast is slow."""
    fast, scalar = (contender.name for contender in measurement.job.contenders)
    return {
        **measurement.job.extra,
        "filter": measurement.job.filter,
        "milliseconds": spread([1e3 * value for value in measurement.seconds[fast]]),
        "ratio": spread(measurement.ratios(scalar)),
    }
