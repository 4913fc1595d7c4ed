"""How fast this machine's memory is, and how much of that is used."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..images import SIZES, photographs
from .batches import BATCH, ours
from .job import Contender, Job
from .measure import Measurement, spread
from .task import SHORTER, SIDE, moved

BLOCK = 256 << 20  # bytes


def bandwidth(threads: int) -> Job:
    """Copying and reading memory, beside our own work on it."""
    source, target = np.ones(BLOCK, np.uint8), np.ones(BLOCK, np.uint8)
    part = BLOCK // threads
    slices = [slice(i * part, (i + 1) * part) for i in range(threads)]
    pool = ThreadPoolExecutor(threads)

    def copy(part: slice) -> None:
        np.copyto(target[part], source[part])

    def read(part: slice) -> Any:
        return source[part].view(np.uint64).max()

    each = pool.map if threads > 1 else map
    contenders = [
        Contender("copy", lambda: list(each(copy, slices))),
        Contender("read", lambda: list(each(read, slices))),
    ]
    moves = {"copy": 2 * BLOCK, "read": BLOCK}
    count = 1 if threads == 1 else BATCH
    for size in SIZES:
        images = photographs(count, *size)
        work = ours(images, (SIDE, SIDE), SHORTER, "bilinear", threads=threads)
        contenders.append(Contender(f"{size[0]}x{size[1]}", work.call))
        moves[contenders[-1].name] = count * moved(size, "bilinear")
    return Job("memory", contenders, threads=threads, filter="bilinear", extra={"bytes": moves})


def shares(measurement: Measurement) -> list[dict[str, Any]]:
    """Bytes per second, and as a share of what copying reaches in the same round."""
    moves = measurement.job.extra["bytes"]
    speed = {name: moves[name] / np.array(seconds) for name, seconds in measurement.seconds.items()}
    return [
        {
            "name": name,
            "bytes": moves[name],
            "gigabytes_per_second": spread(list(speed[name] / 1e9)),
            "share_of_copy": spread(list(speed[name] / speed["copy"])),
        }
        for name in speed
    ]
