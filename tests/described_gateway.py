"""A gateway in front of the tests' server, which knows what is served."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from falconet.serving.gateway import Gateway
from falconet.serving.metadata import metadata
from falconet.serving.ports import free_ports
from falconet.serving.record import Record
from falconet.serving.server import Server


@contextmanager
def described_gateway(
    server: Server, folder: Path, key: str = "abc", **options: Any
) -> Iterator[Gateway]:
    """Start one on a free port, without TLS and with one key; stop it at the end.

    Args:
        server: with the model ``cifar10``.
        folder: an empty one.
        key: of the only client.
        options: of :meth:`.Gateway.start`.
    """
    (folder / "keys").write_text(f"{key} me\n")
    (port,) = free_ports(1)
    started = Gateway.start(
        folder / "state",
        server.ports.inference,
        ["cifar10"],
        folder / "keys",
        port=port,
        **options,
    )
    try:
        started.describe(metadata(server.store, Record.load(server.folder)))
        yield started
    finally:
        started.stop()
