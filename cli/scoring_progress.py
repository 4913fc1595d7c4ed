"""The bar of commands that score images."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from falconet.training.progress import console

if TYPE_CHECKING:
    from falconet.scoring.summary import Summary


def track(results: "Iterable[Summary]", parts: int, finished: int = 0) -> "Iterator[Summary]":
    """Give results as they come, and show how many parts are done, images/s, and the time left.

    Args:
        results: of parts.
        parts: how many there are.
        finished: how many were done before.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    began, images = time.monotonic(), 0
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting", total=parts, completed=finished)
        for summary in results:
            images += summary.images
            rate = images / (time.monotonic() - began)
            progress.update(task, advance=1, description=f"{rate:,.0f} images/s, files")
            yield summary
