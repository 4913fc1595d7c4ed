"""Load from outside: many connections in one thread, and every answer kept.

One loop over select(), whose timeout is exact to microseconds where epoll's is to milliseconds.
"""

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import httptools
import numpy as np

# An answer that takes longer is given up, and counted as an error after so many seconds.
TIMEOUT = 30.0
PIECE = 1 << 16


class Answer(NamedTuple):
    """What became of one request. Times are in seconds, of ``time.perf_counter``.

    Attributes:
        request: its index among those that are sent in turn.
        intended: when it should have been sent; latency counts from here.
        sent: when it was.
        done: when the answer was there, or the error.
        status: of HTTP; 0 where there was none.
        body: of the answer, or what went wrong.
        retry_after: the header of that name, if there was one.
    """

    request: int
    intended: float
    sent: float
    done: float
    status: int
    body: bytes
    retry_after: str = ""

    @property
    def latency(self) -> float:
        return self.done - self.intended


@dataclass(frozen=True)
class Target:
    """Where to send what.

    Attributes:
        port: on this machine.
        requests: whole HTTP requests, headers and all, which are sent in turn.
    """

    port: int
    requests: Sequence[bytes]


def poisson(rate: float, seconds: float, random: np.random.Generator) -> list[float]:
    """A schedule of so many requests a second on average, each independent of the others."""
    gaps = random.exponential(1 / rate, int(2 * rate * seconds) + 100)
    times = gaps.cumsum()
    return times[times < seconds].tolist()  # type: ignore[no-any-return]


def closed_loop(target: Target, connections: int, seconds: float, first: int = 0) -> list[Answer]:
    """Each connection sends its next request as soon as it has an answer.

    Args:
        target: as above.
        connections: how many.
        seconds: after which nothing more is sent; what is on the way is waited for.
        first: the index of the first request.
    """
    loop = _Loop(target, connections, first)
    end = time.perf_counter() + seconds
    while True:
        now = time.perf_counter()
        if now < end:
            for _ in range(len(loop.idle)):  # once each, also if a server refuses at once
                loop.send(now)
        elif not loop.busy:
            return loop.close()
        loop.wait(TIMEOUT if now < end else 1.0)


def open_loop(
    target: Target,
    schedule: Sequence[float],
    connections: int,
    first: int = 0,
    over: threading.Event | None = None,
) -> list[Answer]:
    """Send at times that were fixed before, however long answers take.

    A request waits while all connections are busy; its latency counts that.

    Args:
        target: as above.
        schedule: seconds after the start, ascending.
        connections: at most so many requests are on the way.
        first: the index of the first request.
        over: once it is set, nothing more is sent.
    """
    loop = _Loop(target, connections, first)
    start = time.perf_counter()
    due = deque(start + offset for offset in schedule)
    while due or loop.busy:
        if over is not None and over.is_set():
            due.clear()
        now = time.perf_counter()
        while due and due[0] <= now and loop.idle:
            loop.send(due.popleft())
            now = time.perf_counter()
        # With all connections busy only an answer helps.
        loop.wait(max(0.0, due[0] - now) if due and loop.idle else 1.0)
    return loop.close()


class _Loop:
    """Connections that are idle, or wait for an answer."""

    def __init__(self, target: Target, connections: int, first: int) -> None:
        self._target = target
        self._next = first
        self._answers: list[Answer] = []
        self._selector = selectors.SelectSelector()
        self.idle = deque(_Connection(target.port) for _ in range(connections))
        self.busy: set[_Connection] = set()
        for connection in self.idle:  # before the clock starts
            connection.open()

    def send(self, intended: float) -> None:
        """Give the next request to an idle connection."""
        connection = self.idle.popleft()
        number = self._next % len(self._target.requests)
        self._next += 1
        connection.begin(number, intended, self._target.requests[number])
        self.busy.add(connection)
        self._watch(connection)

    def wait(self, timeout: float) -> None:
        """Until something arrives, or seconds are over; then work on what has."""
        for key, _ in self._selector.select(timeout):
            connection: _Connection = key.data
            self._selector.unregister(key.fileobj)
            connection.proceed()
            self._watch(connection)
        # Few, so looking at all of them costs little; once a second would do.
        now = time.perf_counter()
        for connection in [c for c in self.busy if now - c.sent > TIMEOUT]:
            self._selector.unregister(connection.socket)
            connection.fail(b"no answer in time")
            self._watch(connection)

    def close(self) -> list[Answer]:
        for connection in self.idle:
            connection.close()
        self._selector.close()
        return self._answers

    def _watch(self, connection: "_Connection") -> None:
        """Wait for what a connection waits for, or take its answer."""
        if connection.answer is not None:
            self._answers.append(connection.answer)
            self.busy.remove(connection)
            self.idle.append(connection)
        else:
            event = selectors.EVENT_WRITE if connection.unsent else selectors.EVENT_READ
            self._selector.register(connection.socket, event, connection)


class _Connection:
    """One HTTP/1.1 connection, kept open as long as the server lets it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open = False
        self.answer: Answer | None = None
        self.unsent = memoryview(b"")

    def open(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self._port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._open = True

    def close(self) -> None:
        if self._open:
            self.socket.close()
        self._open = False

    def begin(self, number: int, intended: float, request: bytes) -> None:
        self._number, self._intended = number, intended
        self.answer = None
        self._body: list[bytes] = []
        self._retry_after = ""
        self._parser = httptools.HttpResponseParser(self)
        self.sent = time.perf_counter()
        try:
            if not self._open:
                self.open()
            self.unsent = memoryview(request)
            self._write()
        except OSError as error:
            self.fail(_words(error))

    def proceed(self) -> None:
        """Write or read what is possible."""
        try:
            if self.unsent:
                self._write()
                return
            data = self.socket.recv(PIECE)
            if not data:
                self.fail(b"closed without an answer")
                return
            self._parser.feed_data(data)
        except BlockingIOError:
            pass
        except (OSError, httptools.HttpParserError) as error:
            self.fail(_words(error))

    def fail(self, why: bytes) -> None:
        self.close()
        self._finish(0, why)

    def _write(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.unsent = self.unsent[self.socket.send(self.unsent) :]

    def _finish(self, status: int, body: bytes) -> None:
        self.unsent = memoryview(b"")
        self.answer = Answer(
            self._number,
            self._intended,
            self.sent,
            time.perf_counter(),
            status,
            body,
            self._retry_after,
        )

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name == b"Retry-After":
            self._retry_after = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.close()
        self._finish(self._parser.get_status_code(), b"".join(self._body))


def _words(error: Exception) -> bytes:
    return type(error).__name__.encode()
