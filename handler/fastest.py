"""Which precision a model is fastest in on this machine."""

import fcntl
import hashlib
import json
import logging
import math
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import torch

from falconet.native import __version__

from . import MEASURED
from .classifier import Classifier
from .network import can_quantize, fast_bfloat16
from .precision import Precision
from .quantization import FILE_NAME as INT8
from .quantization import QuantizationError

logger = logging.getLogger(__name__)

LARGEST_BATCH = 4  # larger ones hardly change which precision is the fastest
ROUNDS = 9
TIME_LIMIT = 6.0  # seconds, after which no round begins
# Of the environment, what changes how fast oneDNN computes.
_SETTINGS = ("ONEDNN_", "DNNL_", "OMP_", "KMP_")
# Of the fastest, after one round: what takes longer is measured no further.
MAX_TIME_RATIO = 1.5


def available(precisions: Sequence[str]) -> list[Precision]:
    """Those that this CPU has instructions for, of an archive's; the likely fastest first."""
    supported: dict[Precision, bool] = {
        "int8": can_quantize(),
        "bfloat16": fast_bfloat16(),
        "float32": True,
    }
    found: list[Precision] = [each for each, can in supported.items() if can and each in precisions]
    return found or ["float32"]


def load_fastest(
    load: Callable[[Precision], Classifier],
    precisions: Sequence[Precision],
    folder: Path,
    batch_size: int,
) -> Classifier:
    """A model in the precision that takes least time on this machine.

    It is measured once: for a single image and for a batch, in turn, on as many threads as the
    worker has. Other workers of the same model wait for the result.

    Args:
        load: the model in a precision; where it raises a QuantizationError or RuntimeError, another
            one is served.
        precisions: to choose among.
        folder: of the unpacked archive.
        batch_size: the most images of a batch.
    """
    if len(precisions) == 1:
        return load(precisions[0])
    file = Path(os.environ.get(MEASURED) or folder / "measured.json")
    key = _key(folder, precisions, batch_size)
    if not (found := _read(file).get(key)):
        with _locked(file, key):
            if not (found := _read(file).get(key)):  # another worker may have measured
                classifiers = _load_each(load, precisions)
                found = measure(classifiers, batch_size)
                _write(file, key, found)
                chosen = min(found, key=lambda each: found[each])
                logger.info("%s is the fastest here: %s", chosen, _listed(found))
                return classifiers[chosen]
    chosen = min(found, key=lambda each: found[each])
    logger.info("%s was the fastest here before: %s", chosen, _listed(found))
    return load(chosen)


def _load_each(
    load: Callable[[Precision], Classifier], precisions: Sequence[Precision]
) -> dict[Precision, Classifier]:
    """Those in which the model can be computed, by what it is computed in."""
    found: dict[Precision, Classifier] = {}
    for precision in precisions:
        try:
            classifier = load(precision)
        except (QuantizationError, RuntimeError) as error:
            logger.warning("%s is not served: %s", precision, error)
        else:
            # It may have fallen back to float32.
            found.setdefault(classifier.network.precision, classifier)
    return found or {"float32": load("float32")}


def measure(classifiers: Mapping[Precision, Classifier], batch_size: int) -> dict[Precision, float]:
    """Milliseconds of each model: the geometric mean of one image, and of one in a batch."""
    sizes = sorted({1, min(LARGEST_BATCH, batch_size)})
    times: dict[Precision, list[list[float]]] = {each: [[] for _ in sizes] for each in classifiers}
    left = dict(classifiers)
    began = perf_counter()
    for turn in range(-1, ROUNDS):
        for precision, classifier in left.items():
            for size, taken in zip(sizes, times[precision], strict=True):
                rows = classifier.batch(size)
                rows[:] = 0
                start = perf_counter()
                classifier.logits(rows)
                if turn >= 0:  # before that, the shapes are new
                    taken.append((perf_counter() - start) / size)
        if turn == 0:
            quick = {each: _mean(times[each]) for each in left}
            limit = MAX_TIME_RATIO * min(quick.values())
            left = {each: left[each] for each in left if quick[each] <= limit}
        if turn >= 0 and perf_counter() - began > TIME_LIMIT:
            break
    return {each: round(_mean(taken), 4) for each, taken in times.items()}


def _mean(taken: Sequence[Sequence[float]]) -> float:
    medians = [1e3 * statistics.median(each) for each in taken]
    return math.prod(medians) ** (1 / len(medians))


def _listed(found: Mapping[Precision, float]) -> str:
    return ", ".join(f"{each} {ms:.2f} ms" for each, ms in found.items()) + " an image"


def _key(folder: Path, precisions: Sequence[str], batch_size: int) -> str:
    """What a result depends on."""
    content = hashlib.sha256()
    sums = folder / "checksums.json"  # of all the others
    files = [sums] if sums.is_file() else [folder / "model.pt", folder / "spec.json", folder / INT8]
    for file in files:
        if file.is_file():
            content.update(file.read_bytes())
    environment = {name: os.environ[name] for name in os.environ if name.startswith(_SETTINGS)}
    facts = [
        *(content.hexdigest(), sorted(environment.items()), _processor()),
        *(torch.__version__, __version__, torch.get_num_threads(), min(batch_size, LARGEST_BATCH)),
        *precisions,
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _processor() -> list[str]:
    """What tells this CPU from others."""
    text = ""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    first = text.partition("\n\n")[0].splitlines()
    kept = ("vendor_id", "cpu family", "model", "stepping", "flags", "CPU", "Features")
    return [line for line in first if line.startswith(kept)]


@contextmanager
def _locked(file: Path, key: str) -> Iterator[None]:
    """While no other worker measures the same."""
    with ExitStack() as stack:
        with suppress(OSError):  # a folder that cannot be written to: each measures for itself
            lock = stack.enter_context(file.with_name(f"{file.stem}-{key[:8]}.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(file: Path) -> dict[str, dict[Precision, float]]:
    """Results that are whole; what is damaged is measured again."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    found = content if isinstance(content, dict) else {}
    return {key: result for key, result in found.items() if _is_result(result)}


def _is_result(result: Any) -> bool:
    known = get_args(Precision)
    return isinstance(result, dict) and all(
        name in known and isinstance(ms, float) and 0 < ms < math.inf for name, ms in result.items()
    )


def _write(file: Path, key: str, found: Mapping[Precision, float]) -> None:
    """Add a result to those of other models, which may be measured at the same time."""
    partial = file.with_name(f"{file.stem}-{key[:8]}.partial")
    try:
        with _locked(file, "write"):
            content = json.dumps({**_read(file), key: found}, indent=1)
            partial.write_text(content + "\n", encoding="utf-8")
            partial.replace(file)
    except OSError as error:
        logger.warning("which precision is the fastest is not remembered: %s", error)
