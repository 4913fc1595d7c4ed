"""A job on a Ray cluster, with Ray Data."""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from .job import Job
from .part import Part
from .summary import Summary


class _Actor:
    """Scores parts in a process of a cluster."""

    def __init__(self, job: Job) -> None:
        from .worker import Worker

        self._worker = Worker(job)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        parts = [json.loads(text) for text in batch["part"]]
        found = [
            self._worker.run(int(n), Part(**p)) for n, p in zip(batch["number"], parts, strict=True)
        ]
        return {"summary": [json.dumps(each.to_json()) for each in found]}


def run(
    job: Job, parts: Iterable[tuple[int, Part]], workers: int | None, address: str
) -> Iterator[Summary]:
    """As :func:`.local.run`, by actors on a cluster, each with one core.

    The archive, the input and the output have to be on storage that all nodes see under the same
    names.

    Args:
        job: that the parts are of.
        parts: with their numbers.
        workers: actors; ``None`` for one for each core of the cluster.
        address: of the cluster, like ``ray://head:10001`` or ``auto``; ``local`` starts one here.
    """
    import ray
    import ray.data

    ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        items = [{"number": n, "part": json.dumps(asdict(part))} for n, part in parts]
        cores = ray.cluster_resources()["CPU"]  # type: ignore[no-untyped-call]
        actors = workers or max(1, int(cores))
        scored = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            _Actor,
            fn_constructor_args=(job,),
            batch_size=1,
            concurrency=min(actors, len(items)),
            num_cpus=1,
        )
        for row in scored.iter_rows():
            yield Summary.from_json(row["summary"])
    finally:
        ray.shutdown()
