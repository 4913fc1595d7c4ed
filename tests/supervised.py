"""A gateway that follows its server, as `falconet gateway` runs one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from falconet.serving.errors import ServerError
from falconet.serving.gateway import Gateway
from falconet.serving.gateway_metrics import serve_metrics
from falconet.serving.ports import free_ports
from falconet.serving.server import Server
from falconet.serving.supervisor import ServerLocator, supervise


@contextmanager
def supervised(
    server: Server, keys: Path, image: bytes, metrics_port: int = 0
) -> Iterator[Gateway]:
    """Before the server, and following what is written down."""
    (port,) = free_ports(1)
    gateway = Gateway.start(server.gateway, server.ports.inference, server.models, keys, port=port)
    ended: list[str] = []

    def supervise_it() -> None:
        find = ServerLocator(server)
        with serve_metrics(server.gateway, metrics_port) as metrics:
            try:
                supervise(*(server.folder, find, gateway, image), metrics=metrics, poll_seconds=0.2)
            except ServerError as error:
                ended.append(str(error))

    thread = threading.Thread(target=supervise_it)
    thread.start()
    try:
        yield gateway
    finally:
        gateway.child.send_signal(signal.SIGQUIT)
        thread.join()  # before stop(), which removes the files that supervise() touches
        gateway.stop()
    assert ended == [f"nginx has ended; see {gateway.folder / 'error.log'}"]
