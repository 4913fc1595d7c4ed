"""Work that waits for others, such as object storage or a server, several at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

From = TypeVar("From")
To = TypeVar("To")


def map_ahead(function: Callable[[From], To], items: Iterable[From], count: int) -> Iterator[To]:
    """As ``map``, in threads: at most ``count`` results are being computed or wait to be taken."""
    left = iter(items)
    with ThreadPoolExecutor(count) as threads:
        waiting = deque(threads.submit(function, each) for each in islice(left, count))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(threads.submit(function, each) for each in islice(left, 1))
