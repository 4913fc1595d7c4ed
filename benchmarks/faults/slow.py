"""Clients that send a byte a second, and clients that never read."""

import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from ..load_generator.generator import Generator
from ..load_generator.load import Target
from ..rounds import check, quantiles
from .stack import KEYS, Stack

CLIENTS = 200
NEVER_READING = 10  # more of them
SECONDS = 1.0  # for a byte
CONNECT_SECONDS = 10.0
# The answers to so many at once are more than Linux keeps for who does not read: 4 MB, or 3 where
# the reader has as little room as this.
QUESTIONS = 25_000
RECEIVED_BYTES = 4096


class SlowClients:
    """So many connections at any time, while the context lasts.

    Attributes:
        ended: how many connections the other side has ended that sent slowly, for which new ones
            were opened.
        given_up: likewise those that never read.
    """

    def __init__(self, port: int, requests: Sequence[bytes], clients: int, silent: int) -> None:
        self.ended = self.given_up = 0
        self._port, self._requests = port, requests
        self._clients, self._silent = clients, silent
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "SlowClients":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        sending = [self._begin(i) for i in range(self._clients)]
        silent = [self._ask() for _ in range(self._silent)]
        while not self._over.wait(SECONDS):
            for i, connection in enumerate(silent):
                if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    connection.close()
                    self.given_up += 1
                    silent[i] = self._ask()
            for i, (connection, rest) in enumerate(sending):
                if rest and self._send(connection, rest[:1]):
                    sending[i] = connection, rest[1:]
                else:
                    connection.close()
                    sending[i] = self._begin(i)
        for connection in [*(each for each, _ in sending), *silent]:
            connection.close()

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), CONNECT_SECONDS)
        connection.setblocking(False)
        return connection

    def _begin(self, number: int) -> tuple[socket.socket, bytes]:
        """Half of them send slowly from the first byte, the others their bodies only."""
        connection = self._connect()
        request = self._requests[number % len(self._requests)]
        at = 0 if number % 2 else request.index(b"\r\n\r\n") + 4
        connection.sendall(request[:at])
        return connection, request[at:]

    def _ask(self) -> socket.socket:
        """Questions that cost a server nothing, whose answers nobody takes."""
        connection = self._connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_BYTES)
        with contextlib.suppress(OSError):
            connection.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n" * QUESTIONS)
        return connection

    def _send(self, connection: socket.socket, data: bytes) -> bool:
        """Whether the other side still listens."""
        try:
            if connection.recv(1 << 16) == b"":
                raise ConnectionResetError
        except BlockingIOError:
            pass
        except OSError:
            self.ended += 1
            return False
        try:
            return connection.send(data) == len(data)
        except OSError:
            self.ended += 1
            return False


def measure(stack: Stack, rate: float, seconds: float) -> dict[str, Any]:
    """Good traffic before, and beside, slow clients."""
    before = _good(stack, stack.served.target, rate, seconds)
    requests = [stack.served.target.requests[i] for i in range(len(KEYS))]
    with SlowClients(stack.port, requests, CLIENTS, NEVER_READING) as clients:
        time.sleep(2 * SECONDS)  # all have begun
        during = _good(stack, stack.served.target, rate, seconds)
    return {
        "clients": CLIENTS,
        "never_reading": NEVER_READING,
        "ended": clients.ended,
        "given_up": clients.given_up,
        "before": before,
        "during": during,
    }


def _good(stack: Stack, target: Target, rate: float, seconds: float) -> dict[str, Any]:
    with Generator(target, rate, seconds=seconds) as generator:
        answers = generator.wait().answers
    right, errors = check(stack.served, answers)
    return {"requests": len(answers), "failed": dict(errors), **quantiles(right)}
