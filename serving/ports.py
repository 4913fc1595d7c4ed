"""The addresses a server listens on."""

import contextlib
import errno
import random
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from .errors import ServerError

HOST = "127.0.0.1"
CLIENT_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST_PORT = 10_000


@dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1. TorchServe opens the two of gRPC whether they are used or not."""

    inference: int
    management: int
    metrics: int
    grpc_inference: int
    grpc_management: int

    def url(self, name: str) -> str:
        return f"http://{HOST}:{getattr(self, name)}"

    def check(self) -> None:
        """Make sure that nobody else listens on them.

        Raises:
            ServerError: one is taken; names it and, where this user may know, by whom.
        """
        for name, port in asdict(self).items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError as error:
                    used = error.errno == errno.EADDRINUSE
                    why = f"is taken{_owner(port)}" if used else f"cannot be used ({error})"
                    raise ServerError(
                        f"the {name.replace('_', ' ')} port {port} {why}; stop what uses it, or "
                        "choose another port (0 is any free one)"
                    ) from error


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment, all different.

    They are below those that Linux gives to clients, one of which might get such a port before a
    server that has yet to start, where the system leaves at least 10,000 of these.

    Raises:
        ServerError: there are not as many.
    """
    try:
        clients = int(CLIENT_PORTS.read_text().split()[0])
    except OSError:  # not Linux
        clients = 0
    numbers = range(LOWEST_PORT, max(clients, 2 * LOWEST_PORT))
    found: list[int] = []
    with contextlib.ExitStack() as probes:
        for port in random.SystemRandom().sample(numbers, LOWEST_PORT):
            if len(found) == count:
                break
            probe = probes.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                found.append(port)
    if len(found) < count:
        raise ServerError(f"expected {count} free ports, found {len(found)}; stop what uses them")
    return found


def _owner(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and getattr(connection.laddr, "port", 0) == port and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return ""
