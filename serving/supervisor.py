"""What goes on between a gateway and its server while both run: readiness, and the routes."""

import time
from typing import NoReturn

from .errors import ServerError
from .gateway import Gateway
from .record import Record
from .server import Server

POLL_SECONDS = 1.0


def supervise(
    server: Server, gateway: Gateway, picture: bytes, poll_seconds: float = POLL_SECONDS
) -> NoReturn:
    """Keep a gateway informed of its server, until one of them ends.

    Each time it tells the gateway whether the server is ready, rotates the gateway's logs, and
    passes on which models the server's record names, and how it splits each one's requests.

    Args:
        server: that the gateway stands before.
        gateway: that runs.
        picture: any picture that all models should answer.
        poll_seconds: between two looks at the server.

    Raises:
        ServerError: the server or nginx has ended.
    """
    while gateway.child.poll() is None:
        if not server.running():
            raise ServerError(f"TorchServe has ended; see {server.folder / 'logs'}")
        gateway.admit(server.ready(picture))
        gateway.rotate()
        records = Record.load(server.folder)
        gateway.follow({name: each.split for name, each in records.items() if each.admitted})
        time.sleep(poll_seconds)
    raise ServerError(f"nginx has ended; see {gateway.folder / 'error.log'}")
