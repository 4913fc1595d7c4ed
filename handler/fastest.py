"""Which precision a model is fastest in on this machine."""

import fcntl
import hashlib
import json
import logging
import math
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import perf_counter

import torch

from . import MEASURED
from .classifier import Classifier
from .network import Precision, can_quantize, fast_bfloat16

logger = logging.getLogger(__name__)

# Batches that are timed; a model's relation of precisions hardly changes beyond.
LARGEST = 4
ROUNDS, SECONDS = 9, 6.0
# What takes so many times as long as the fastest in the first round is not measured on.
HOPELESS = 1.5


def available(precisions: Sequence[str]) -> list[Precision]:
    """Those that this CPU has instructions for, of an archive's; the likely fastest first."""
    can: dict[Precision, bool] = {
        "int8": can_quantize(),
        "bfloat16": fast_bfloat16(),
        "float32": True,
    }
    found: list[Precision] = [each for each, fits in can.items() if fits and each in precisions]
    return found or ["float32"]


def fastest(
    load: Callable[[Precision], Classifier],
    precisions: Sequence[Precision],
    folder: Path,
    batch_size: int,
) -> Classifier:
    """A model in the precision that takes least time on this machine.

    It is measured once: for a single image and for a batch, in turn, on as many threads as the
    worker has. Other workers of the same model wait for the result.

    Args:
        load: the model in a precision.
        precisions: to choose among.
        folder: of the unpacked archive.
        batch_size: the most images of a batch.
    """
    if len(precisions) == 1:
        return load(precisions[0])
    kept = Path(os.environ.get(MEASURED, folder / "measured.json"))
    key = _key(folder, precisions, batch_size)
    with _alone(kept):
        known = _read(kept)
        found = known.get(key, {})
        if found.keys() == set(precisions):
            chosen = min(precisions, key=lambda each: float(found[each]))
            logger.info("%s was the fastest here before: %s", chosen, _said(found))
            return load(chosen)
        classifiers = {precision: load(precision) for precision in precisions}
        found = measure(classifiers, batch_size)
        _write(kept, {**known, key: found})
    chosen = min(precisions, key=lambda each: found[each])
    logger.info("%s is the fastest here: %s", chosen, _said(found))
    return classifiers[chosen]


def measure(classifiers: dict[Precision, Classifier], batch_size: int) -> dict[str, float]:
    """Milliseconds of each model: the geometric mean of one image, and of one in a batch."""
    sizes = sorted({1, min(LARGEST, batch_size)})
    times: dict[Precision, list[list[float]]] = {each: [[] for _ in sizes] for each in classifiers}
    began = perf_counter()
    left = dict(classifiers)
    for turn in range(ROUNDS):
        for precision, classifier in left.items():
            for size, taken in zip(sizes, times[precision], strict=True):
                rows = classifier.batch(size)
                rows[:] = 0
                start = perf_counter()
                classifier.logits(rows)
                taken.append((perf_counter() - start) / size)
        if turn == 0:  # the shapes are new
            times = {each: [[] for _ in sizes] for each in classifiers}
        elif turn == 1:
            quick = {each: _mean(times[each]) for each in left}
            least = min(quick.values())
            left = {each: left[each] for each in left if quick[each] <= HOPELESS * least}
        if perf_counter() - began > SECONDS and turn:
            break
    return {each: round(_mean(taken), 4) for each, taken in times.items()}


def _mean(taken: Sequence[Sequence[float]]) -> float:
    medians = [1e3 * statistics.median(each) for each in taken]
    return math.prod(medians) ** (1 / len(medians))


def _said(found: dict[str, float]) -> str:
    return ", ".join(f"{each} {float(ms):.2f} ms" for each, ms in found.items()) + " an image"


def _key(folder: Path, precisions: Sequence[str], batch_size: int) -> str:
    """What the answer depends on."""
    sums = folder / "checksums.json"
    content = sums if sums.is_file() else folder / "model.pt"
    facts = [
        hashlib.sha256(content.read_bytes()).hexdigest() if content.is_file() else str(folder),
        *(_processor(), torch.__version__, torch.get_num_threads(), min(batch_size, LARGEST)),
        *precisions,
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _processor() -> list[str]:
    """What tells this CPU from others."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    first = text.partition("\n\n")[0].splitlines()
    kept = ("vendor_id", "cpu family", "model", "stepping", "flags", "CPU", "Features")
    return [line for line in first if line.startswith(kept)]


@contextmanager
def _alone(kept: Path) -> Iterator[None]:
    """While no other worker measures."""
    with ExitStack() as stack:
        with suppress(OSError):  # a folder that cannot be written to: each measures for itself
            lock = stack.enter_context(kept.with_suffix(".lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(kept: Path) -> dict[str, dict[str, float]]:
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # damaged: is measured again
        return {}
    return found if isinstance(found, dict) else {}


def _write(kept: Path, content: dict[str, dict[str, float]]) -> None:
    partial = kept.with_suffix(".partial")
    try:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        partial.replace(kept)
    except OSError as error:
        logger.warning("which precision is the fastest is not remembered: %s", error)
