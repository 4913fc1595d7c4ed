"""Two processes with a model each, which classify at the same time on one device."""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

from torch import Tensor

from falconet.handler.classifier import Classifier

from .logits import compare, logits
from .steps import CheckError, Figures, Findings

WORKERS = 2
WORK_SECONDS = 2.0
MEET_SECONDS = 60.0  # until all have loaded the model


@dataclass(frozen=True)
class Work:
    """A worker's start and end by :func:`time.time`, its passes, and its last logits."""

    began: float
    ended: float
    passes: int
    logits: Tensor


_start: Barrier


def run(model: Path, device: str) -> list[Work]:
    """Run the workers, and return the work of each."""
    context = get_context("spawn")
    start = (context.Barrier(WORKERS),)
    with ProcessPoolExecutor(WORKERS, context, _meet_at, start) as processes:
        tasks = [processes.submit(work, model, device) for _ in range(WORKERS)]
        return [task.result(MEET_SECONDS + 10 * WORK_SECONDS) for task in tasks]


def _meet_at(start: Barrier) -> None:
    global _start
    _start = start


def work(model: Path, device: str) -> Work:
    """Classify all images for some seconds, in a process of its own, together with another."""
    classifier = Classifier(model, device=device)
    found = logits(classifier)
    _start.wait(MEET_SECONDS)
    began = ended = time.time()
    passes = 0
    while ended - began < WORK_SECONDS:
        found = logits(classifier)
        passes, ended = passes + 1, time.time()
    return Work(began, ended, passes, found)


def together(expected: Tensor, done: Sequence[Work]) -> Findings:
    """Check that workers ran at the same time and got the expected classes."""
    began, ended = max(each.began for each in done), min(each.ended for each in done)
    rates = [round(each.passes * len(expected) / (each.ended - each.began)) for each in done]
    figures: Figures = {
        "seconds_together": round(ended - began, 2),
        "images_per_second": rates,
        "worker": [compare(expected, each.logits) for each in done],
    }
    if not all(each["same_classes"] for each in figures["worker"]):
        raise CheckError("expected the same classes as on the CPU, got others", figures)
    if began >= ended:
        raise CheckError("expected two processes at the same time, got one after another", figures)
    return Findings(f"{' and '.join(map(str, rates))} images/s at the same time", figures)
