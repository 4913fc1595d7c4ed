"""What a worker counts, told to TorchServe at an interval rather than with every batch."""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence

from ts.metrics.caching_metric import CachingMetric
from ts.metrics.metric_type_enum import MetricTypes

from . import BEGUN, REQUESTS
from .interval import report_seconds

# serving/conf/metrics.yaml declares the same; TorchServe drops what it does not know.
BATCHES = "falconet_batches_total"
PICTURES = "falconet_pictures_total"
STAGE_SECONDS = "falconet_stage_seconds_total"


class Metrics:
    """Sums since the last time they were told; TorchServe adds them up for all workers.

    Means are ratios: pictures by batches is the size of a batch, seconds of a stage by pictures
    what one took.

    Args:
        model: name and version, which every line bears.
    """

    def __init__(self, model: tuple[str, str]) -> None:
        self._model = model
        self._interval = report_seconds()
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, str], float] = defaultdict(float)
        self._told_soon = False

    def began(self, requests: int) -> None:
        """A batch has come. What has begun and is not answered yet is in the worker's hands."""
        self._add({(BEGUN, ""): requests})

    def took(self, stage: str, seconds: float) -> None:
        """Time that a stage took: ``decode``, ``preprocess`` or ``inference``."""
        self._add({(STAGE_SECONDS, stage): seconds})

    def answered(self, statuses: Sequence[int], pictures: int) -> None:
        """A batch with an HTTP status for each request, and so many pictures in all of them."""
        sums: dict[tuple[str, str], float] = {(BATCHES, ""): 1, (PICTURES, ""): pictures}
        for status in statuses:
            sums[REQUESTS, str(status)] = sums.get((REQUESTS, str(status)), 0) + 1
        self._add(sums)

    def _add(self, sums: Mapping[tuple[str, str], float]) -> None:
        with self._lock:
            for key, value in sums.items():
                self._sums[key] += value
            first, self._told_soon = not self._told_soon, True
        if first:
            timer = threading.Timer(self._interval, self.tell)
            timer.daemon = True
            try:
                timer.start()
            except RuntimeError:  # no more threads; the next time it may be possible
                with self._lock:
                    self._told_soon = False

    def tell(self) -> None:
        """Write the sums where TorchServe reads them, and begin anew."""
        with self._lock:
            sums, self._sums = self._sums, defaultdict(float)
            self._told_soon = False
        for (name, label), value in sums.items():
            kind = {REQUESTS: ["status"], STAGE_SECONDS: ["stage"]}.get(name, [])
            dimensions = ["model_name", "model_version", *kind]
            metric = CachingMetric(name, "Count", dimensions, MetricTypes.COUNTER)
            metric.add_or_update(value, [*self._model, *([label] if kind else [])])
