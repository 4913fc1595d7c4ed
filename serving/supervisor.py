"""What goes on between a gateway and its server while both run: readiness, and the routes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn
from zipfile import BadZipFile

from .errors import ServerError
from .gateway import Gateway
from .gateway_metrics import GatewayMetrics
from .metadata import metadata
from .readiness import Watch
from .record import Record
from .reload import Reload
from .server import Server
from .store import FOLDER as STORE

POLL_SECONDS = 1.0

Say = Callable[[str], None]


def supervise(
    state: Path,
    find: Callable[[], Server | None],
    gateway: Gateway,
    image: bytes,
    say: Say = lambda _: None,
    reload: Reload | None = None,
    metrics: GatewayMetrics | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> NoReturn:
    """Keep a gateway informed of its server, until the gateway ends.

    Each time it tells the gateway where the server is and whether it is ready, rotates the
    gateway's logs, and passes on which models the server's record names, and how it splits each
    one's requests. What fails of this, on a full disk for example, is tried again the next time.

    Args:
        state: the folder of the server's state.
        find: finds the server; ``None`` while there is none. What it raises ends the supervision.
        gateway: that runs.
        image: any image that all models should answer.
        say: called with the current errors whenever they change.
        reload: is done when it is requested.
        metrics: is kept up to date.
        poll_seconds: between two looks at the server.

    Raises:
        ServerError: nginx has ended.
    """
    said: list[str] = []
    records: dict[str, Record] = {}
    watch = Watch(image, poll_seconds)
    watch.start()
    try:
        while gateway.child.poll() is None:
            server = find()
            errors = [] if server else ["no server runs; requests get status 503 until one does"]
            with collect_error(errors):
                records = {k: v for k, v in Record.load(state).items() if v.admitted}
                gateway.set_routes({name: each.split for name, each in records.items()})
            with collect_error(errors):
                gateway.describe(metadata(state / STORE, records))
            with collect_error(errors):
                if reload is not None:
                    reload.run_if_requested(gateway)
            watch.watch(server, records.keys())
            capacity = {name: watch.requests_per_second(name) for name in records}
            with collect_error(errors):
                for name, rate in capacity.items():
                    gateway.limit_concurrency(name, rate)
            with collect_error(errors):
                moved = server is not None and gateway.set_upstream_port(server.ports.inference)
                ready = watch.ready and not moved
                gateway.set_ready(ready)
                if metrics is not None:
                    metrics.update(gateway, ready, capacity)
            with collect_error(errors):
                gateway.rotate()
            if errors != said:
                say("; ".join(errors) or "all checks succeed again")
                said = errors
            time.sleep(poll_seconds)
    finally:
        watch.stop()
    raise ServerError(f"nginx has ended; see {gateway.folder / 'error.log'}")


@contextmanager
def collect_error(errors: list[str]) -> Iterator[None]:
    """What fails is noted, and no reason to end: it is tried again at the next look."""
    try:
        yield
    except (OSError, ServerError, ValueError, LookupError, BadZipFile) as error:
        errors.append(str(error))


class ServerLocator:
    """Finds the server of a state folder, also another one that is started later.

    Args:
        server: that runs now.
    """

    def __init__(self, server: Server) -> None:
        self._server: Server | None = server
        self._folder = server.folder

    def __call__(self) -> Server | None:
        # To look among all processes is needed only where it has ended.
        if self._server is None or not self._server.running():
            found: Server | None = None
            with suppress(OSError):  # too many open files, or a disk that fails
                found = Server.find(self._folder)
            self._server = found if found is not None and found.serving() else None
        return self._server
