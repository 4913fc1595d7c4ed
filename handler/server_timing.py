"""Where the time of each request of a batch went, as the header Server-Timing has it.

https://www.w3.org/TR/server-timing/
"""

import time
from collections.abc import Iterable

HEADER = "Server-Timing"
# When a proxy passed a request on: ``t=`` and the seconds since 1970; serving/conf/nginx-ask.conf
# and serving/page_server.py say it.
START_HEADER = "X-Request-Start"
VERSION_HEADER = "X-Model-Version"


class ServerTiming:
    """Adds up the stages of each request of a batch; safe to call from any thread.

    Args:
        starts: of each request, the value of :data:`START_HEADER`; ``None`` without one.
    """

    def __init__(self, starts: Iterable[object]) -> None:
        now = time.time()
        self._stages = [_queue(start, now) for start in starts]

    def add(self, stage: str, seconds: float, requests: Iterable[int]) -> None:
        """Count a stage of some images.

        Args:
            stage: ``decode``, ``preprocess``, ``inference`` or ``explain``.
            seconds: that it took; for images together it counts for each of their requests once.
            requests: the index of each image's request.
        """
        for request in set(requests):
            stages = self._stages[request]
            stages[stage] = stages.get(stage, 0.0) + seconds

    def total(self, stage: str) -> float:
        """Seconds of a stage, of all requests together."""
        return sum(stages.get(stage, 0.0) for stages in self._stages)

    def header(self, request: int) -> str:
        """The value of the header, in milliseconds."""
        stages = self._stages[request].items()
        return ", ".join(f"{name};dur={1e3 * seconds:.2f}" for name, seconds in stages)


def _queue(start: object, now: float) -> dict[str, float]:
    """The time since a proxy passed the request on; nothing where clocks disagree."""
    # A field of a form that is called as the header takes its place, as TorchServe reads it.
    text = start if isinstance(start, str) else ""
    try:
        seconds = now - float(text.removeprefix("t="))
    except ValueError:
        return {}
    return {"queue": seconds} if 0 <= seconds < 3600 else {}
