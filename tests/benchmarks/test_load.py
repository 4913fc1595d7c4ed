"""The load generator, with a server that does as it is told."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from benchmarks.load_generator.encode import post
from benchmarks.load_generator.load import Target, closed_loop, open_loop, poisson


class Handler(BaseHTTPRequestHandler):
    """Answers with what it got; the path says how."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        _, kind, number = self.path.split("/")
        if kind == "slow":
            time.sleep(float(number))
        if kind == "cut":
            self.close_connection = True
            return
        self.send_response(503 if kind == "busy" else 200)
        if kind in ("busy", "once"):
            self.send_header("Connection", "close")
        if kind == "busy":
            self.send_header("Retry-After", number)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # nobody waits any more
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def target(port: int, *paths: str, size: int = 10) -> Target:
    requests = [post(path, bytes([i]) * size, "image/jpeg") for i, path in enumerate(paths)]
    return Target(port, requests)


def test_every_answer_belongs_to_its_request(port: int) -> None:
    there = target(port, *["/echo/0"] * 50, size=1_000_000)  # more than a socket takes at once
    answers = closed_loop(there, 3, 0.5, first=7)
    assert len(answers) > 3
    assert {answer.status for answer in answers} == {200}
    assert all(answer.body == bytes([answer.request]) * 1_000_000 for answer in answers)
    expected = [(7 + i) % 50 for i in range(len(answers))]
    assert Counter(answer.request for answer in answers) == Counter(expected)


def test_a_closed_loop_waits_for_answers(port: int) -> None:
    answers = closed_loop(target(port, "/slow/0.1"), 4, 0.95)
    assert 4 <= len(answers) <= 40
    for answer in answers:
        at_once = [each for each in answers if each.sent <= answer.sent < each.done]
        assert len(at_once) <= 4
    assert min(answer.latency for answer in answers) >= 0.1


def test_an_open_loop_does_not_and_counts_the_waiting(port: int) -> None:
    """Two connections to a server that needs 0.1 s cannot take 40 a second."""
    schedule = [i / 40 for i in range(20)]
    answers = sorted(open_loop(target(port, "/slow/0.1"), schedule, 2))
    assert len(answers) == 20
    by_time = sorted(answers, key=lambda answer: answer.intended)
    offsets = [answer.intended - by_time[0].intended for answer in by_time]
    assert offsets == pytest.approx(schedule, abs=1e-6)
    # The last of ten pairs begins after 0.9 s at the earliest; it was due after 0.475.
    assert by_time[-1].latency >= 0.9 + 0.1 - 0.475
    assert by_time[-1].done - by_time[-1].sent < by_time[-1].latency


def test_nothing_is_sent_before_its_time(port: int) -> None:
    schedule = poisson(200, 1, np.random.default_rng(0))
    answers = open_loop(target(port, "/echo/0"), schedule, 16)
    assert len(answers) == len(schedule)
    assert all(answer.intended <= answer.sent <= answer.done for answer in answers)


def test_nothing_is_sent_once_it_is_over(port: int) -> None:
    over = threading.Event()
    threading.Timer(0.3, over.set).start()
    answers = open_loop(target(port, "/echo/0"), [i / 100 for i in range(100_000)], 4, over=over)
    assert 0 < len(answers) < 100_000
    assert {answer.status for answer in answers} == {200}


def test_errors_are_answers(port: int) -> None:
    answers = closed_loop(target(port, "/busy/7", "/cut/0", "/echo/0", "/once/0"), 2, 0.5)
    kinds = {(answer.request, answer.status) for answer in answers}
    assert kinds == {(0, 503), (1, 0), (2, 200), (3, 200)}
    assert {(answer.status, answer.retry_after) for answer in answers} == {
        *((503, "7"), (0, ""), (200, ""))
    }
    assert {answer.body for answer in answers if answer.status == 0} == {
        b"closed without an answer"
    }


def test_a_server_that_is_gone() -> None:
    with pytest.raises(ConnectionRefusedError):
        closed_loop(target(1, "/echo/0"), 2, 0.2)


def test_an_answer_that_does_not_come(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.load_generator.load.TIMEOUT", 0.3)
    answers = closed_loop(target(port, "/slow/2.5"), 1, 0.2)
    assert [(answer.status, answer.body) for answer in answers] == [(0, b"no answer in time")]


def test_poisson_has_the_rate_and_the_spread() -> None:
    times = np.array(poisson(1000, 20, np.random.default_rng(1)))
    gaps = np.diff(times)
    assert len(times) == pytest.approx(20_000, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
