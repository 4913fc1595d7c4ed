"""Whether more requests should come to a server: a load balancer asks every second."""

import threading
import time
from collections.abc import Collection, Iterable
from typing import NamedTuple

from falconet.client import ClientError

from .errors import ServerError
from .server import Server
from .throughput import Throughput

# So many looks in a row have to fail before a server that was ready is not.
FAILURE_THRESHOLD = 3


class Progress(NamedTuple):
    """How many requests a version had answered, and when that was last another number."""

    version: str
    answered: int
    changed_at: float


class Readiness:
    """Watches a server.

    A model is ready if at least one of its workers is, and answers come out of it: it is asked for
    a prediction where it has nothing to do, and given time where it has. So neither a queue nor the
    restart of one worker of several makes a server unready, which would send its requests to
    others, and bring those down too.

    Args:
        server: that runs.
        image: any image that all models should answer.
        throughput: of each model, by its name, to be kept up to date.
    """

    def __init__(
        self, server: Server, image: bytes, throughput: dict[str, Throughput] | None = None
    ) -> None:
        self.server = server
        self._throughput = {} if throughput is None else throughput
        self._image = image
        self._progress: dict[str, Progress] = {}
        self._ready = False
        self._failed = 0

    def update(self, models: Iterable[str]) -> bool:
        """Whether the server is ready; to be called again and again.

        Args:
            models: their names.
        """
        if self.check(models):
            self._ready, self._failed = True, 0
        else:
            self._failed += 1
            self._ready = self._ready and self._failed < FAILURE_THRESHOLD
        return self._ready

    def check(self, models: Iterable[str]) -> bool:
        """Whether all models are ready now."""
        found = [self._is_ready(model) for model in models]
        return bool(found) and all(found)

    def _is_ready(self, model: str) -> bool:
        try:
            return self._answers(model)
        except (ServerError, ClientError, ValueError, LookupError):  # none, or half of one
            return False

    def _answers(self, model: str) -> bool:
        client = self.server.client
        described = client.describe(model)
        workers = sum(worker["status"] == "READY" for worker in described["workers"])
        if not workers:
            return False
        version = described["modelVersion"]
        counts = client.counted(model, version)
        self._throughput.setdefault(model, Throughput()).update(version, workers, counts)
        begun, answered = counts.begun, counts.answered
        now = time.monotonic()
        last = self._progress.get(model)
        if last is None or last[:2] != (version, answered):
            last = self._progress[model] = Progress(version, answered, now)
        pending = described["jobQueueStatus"]["pendingRequests"]
        # Without counts, which are those of our handler, all that can be done is to ask.
        in_time = now - last.changed_at <= described["responseTimeout"]
        if begun is not None and pending:
            return bool(in_time)
        # TorchServe restarts a worker that takes longer, and what that had begun is never answered.
        if begun is not None and begun > answered and in_time:
            return True
        client.predict(model, self._image)
        return True


class Watch(threading.Thread):
    """Watches what is said to be the server, in a thread of its own, as answers take their time.

    Args:
        image: any image that all models should answer.
        poll_seconds: between two looks.
    """

    def __init__(self, image: bytes, poll_seconds: float) -> None:
        super().__init__(daemon=True)
        self._image, self._poll_seconds = image, poll_seconds
        self._over = threading.Event()
        self._server: Server | None = None
        self._models: Collection[str] = ()
        self._ready: Server | None = None
        self._throughput: dict[str, Throughput] = {}

    def watch(self, server: Server | None, models: Collection[str]) -> None:
        """Watch this server from now on; none is not ready."""
        self._server, self._models = server, models

    @property
    def ready(self) -> bool:
        """Whether it was at the last look."""
        return self._server is not None and self._ready == self._server

    def requests_per_second(self, model: str) -> float | None:
        """How many requests the model can answer; ``None`` while that is not known."""
        found = self._throughput.get(model)
        return None if found is None else found.requests_per_second

    def run(self) -> None:
        watched: Readiness | None = None
        while not self._over.wait(self._poll_seconds):
            server, models = self._server, self._models
            if server is None:
                watched = None
                continue
            if watched is None or watched.server != server:
                watched = Readiness(server, self._image, self._throughput)
            try:
                self._ready = server if watched.update(models) else None
            except Exception:  # whatever is wrong, nobody else would end a false "ready"
                self._ready = None

    def stop(self) -> None:
        self._over.set()
