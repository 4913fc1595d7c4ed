"""What a worker counts, told to TorchServe at an interval rather than with every batch."""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from ts.metrics.caching_metric import CachingMetric
from ts.metrics.metric_type_enum import MetricTypes

from . import BATCH_SECONDS, BEGUN, REQUESTS, SUCCEEDED
from .interval import report_seconds

# serving/conf/metrics.yaml declares the same; TorchServe drops what it does not know.
BATCHES = "falconet_batches_total"
IMAGES = "falconet_images_total"
STAGE_SECONDS = "falconet_stage_seconds_total"
# A histogram, in seconds: TorchServe's own type has one set of buckets for everything.
STAGE_BUCKETS = "falconet_stage_duration_seconds_bucket"
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BOUND_LABELS = (*map(str, BOUNDS), "+Inf")
_LABELS = {
    REQUESTS: ("status",),
    STAGE_SECONDS: ("stage",),
    STAGE_BUCKETS: ("stage", "le"),
}


class Metrics:
    """Sums since the last report; TorchServe adds them up for all workers.

    Means are ratios: images by batches is the size of a batch, seconds of a stage by images
    what one took.

    Args:
        model: name and version, which every line bears.
    """

    def __init__(self, model: tuple[str, str]) -> None:
        self._model = model
        self._interval = report_seconds()
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, ...], float] = defaultdict(float)
        self._reports_soon = False

    def began(self, requests: int) -> None:
        """A batch has come. What has begun and is not answered yet is in the worker's hands."""
        self._add({(BEGUN,): requests})

    def took(self, stage: str, seconds: float) -> None:
        """Time that a stage took: ``decode``, ``preprocess``, ``inference`` or ``explain``."""
        bucket = _BOUND_LABELS[bisect_left(BOUNDS, seconds)]
        self._add({(STAGE_SECONDS, stage): seconds, (STAGE_BUCKETS, stage, bucket): 1})

    def answered(
        self, statuses: Sequence[int], images: int, seconds: float, explained: int = 0
    ) -> None:
        """A batch is done.

        Args:
            statuses: HTTP's, of each request.
            images: in all of them.
            seconds: that the worker spent on the batch, without explanations. Counted if a
                prediction got status 200: errors are cheap, and say nothing of what others take.
            explained: requests for explanations that got status 200.
        """
        sums: dict[tuple[str, ...], float] = {(BATCHES,): 1, (IMAGES,): images}
        succeeded = statuses.count(HTTPStatus.OK) - explained
        if succeeded:
            sums[SUCCEEDED,] = succeeded
            sums[BATCH_SECONDS,] = seconds
        for status in statuses:
            sums[REQUESTS, str(status)] = sums.get((REQUESTS, str(status)), 0) + 1
        self._add(sums)

    def _add(self, sums: Mapping[tuple[str, ...], float]) -> None:
        with self._lock:
            for key, value in sums.items():
                self._sums[key] += value
            first, self._reports_soon = not self._reports_soon, True
        if first:
            timer = threading.Timer(self._interval, self.report)
            timer.daemon = True
            try:
                timer.start()
            except RuntimeError:  # no more threads; the next time it may be possible
                with self._lock:
                    self._reports_soon = False

    def report(self) -> None:
        """Write the sums where TorchServe reads them, and begin anew."""
        with self._lock:
            sums, self._sums = self._sums, defaultdict(float)
            self._reports_soon = False
        for (name, *labels), value in _cumulative(sums).items():
            dimensions = ["model_name", "model_version", *_LABELS.get(name, ())]
            metric = CachingMetric(name, "Count", dimensions, MetricTypes.COUNTER)
            metric.add_or_update(value, [*self._model, *labels])


def _cumulative(sums: Mapping[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """The same sums, with cumulative buckets as Prometheus expects: each includes the smaller."""
    found = {key: value for key, value in sums.items() if key[0] != STAGE_BUCKETS}
    for stage in {key[1] for key in sums if key[0] == STAGE_BUCKETS}:
        count = 0.0
        for bound in _BOUND_LABELS:
            count += sums.get((STAGE_BUCKETS, stage, bound), 0)
            if count:
                found[STAGE_BUCKETS, stage, bound] = count
    return found
