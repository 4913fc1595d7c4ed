"""Hostile requests from several clients at a time, and what they are answered."""

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .hostile import Hostile

TIMEOUT = 30.0  # more than any answer takes
# What nginx says to a protocol that it does not know, without asking anyone.
OF_NGINX = (501, 505)

# Kind of request, and status; 0 is a connection closed without an answer, -1 none in time.
Statuses = Counter[tuple[str, int]]


class Unfair(NamedTuple):
    """A hostile request that was not answered as it should be.

    Attributes:
        hostile: the request.
        status: of HTTP; 0 where there was none, -1 where none came in time.
        answer: all of its bytes.
        done: when it was there, in seconds of ``time.perf_counter``.
    """

    hostile: Hostile
    status: int
    answer: bytes
    done: float


def send(port: int, hostile: Hostile, timeout: float = TIMEOUT) -> tuple[int, bytes]:
    """One of them: the answer's status and all of its bytes."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        # nginx may answer and close before all has been sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(hostile.data)
        if hostile.end == "close":
            return 0, b""
        try:
            if hostile.end == "half-close":
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(1 << 16):
                answer += piece
        except TimeoutError:
            return -1, answer
        except OSError:
            pass
    status = answer[9:12]
    return int(status) if answer.startswith(b"HTTP/1.") and status.isdigit() else 0, answer


def attack(
    port: int,
    requests: Iterator[Hostile],
    count: int,
    clients: int = 4,
    done: Callable[[], None] = lambda: None,
) -> tuple[Statuses, list[Unfair]]:
    """Send so many.

    Args:
        port: of a gateway.
        requests: at least that many.
        count: how many are sent.
        clients: how many at a time.
        done: called after each.

    Returns:
        how often there was which status, and those that should have been answered otherwise.
    """
    statuses: Statuses = Counter()
    bad: list[Unfair] = []
    lock = threading.Lock()
    left = count

    def client() -> None:
        nonlocal left
        while True:
            with lock:
                if left == 0:
                    return
                left -= 1
                hostile = next(requests)
            status, answer = send(port, hostile)
            with lock:
                statuses[hostile.kind, status] += 1
                if not fair(hostile, status, answer):
                    bad.append(Unfair(hostile, status, answer, time.perf_counter()))
                done()

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses, bad


def fair(hostile: Hostile, status: int, answer: bytes) -> bool:
    """Whether a hostile request was answered as it should be.

    That is, told what is wrong with it. Damage may be harmless, and then there are predictions.
    """
    if status == 0:
        return hostile.end != "wait"
    if status == 200:
        with contextlib.suppress(ValueError):
            message = json.loads(answer.partition(b"\r\n\r\n")[2])
            return "predictions" in message or "outputs" in message
        return False
    return 400 <= status < 500 or status in OF_NGINX
