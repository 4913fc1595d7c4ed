"""What `falconet serve --page` serves, without a browser and before a stand-in for TorchServe."""

import http.client
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

from falconet.serving.errors import ServerError
from falconet.serving.page_server import MAX_BODY, PageServer, serve_page
from falconet.serving.record import write
from falconet.serving.store import archives_to_serve

TIMEOUT = 60


class Upstream:
    """In place of TorchServe: keeps what it is asked, and refuses it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.asked.append((self.path, headers, body))
                self.send_response(422)
                for name, value in (
                    ("Content-Type", "application/json"),
                    ("Server-Timing", "decode;dur=1.00"),
                    ("X-Model-Version", "1.0"),
                    ("X-Other", "mine"),
                    ("Content-Length", "2"),
                ):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    started = Upstream()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def page(
    upstream: Upstream, make: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PageServer]:
    state = tmp_path_factory.mktemp("state")
    content = archives_to_serve(state, [make("2.0"), make("5.0", model="cats")])
    write(state, *content)
    with serve_page(0, state) as started:
        started.inference = upstream.port
        yield started


@contextmanager
def connected(page: PageServer) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", page.server_address[1], timeout=TIMEOUT)
    try:
        yield connection
    finally:
        connection.close()


def ask(page: PageServer, method: str, path: str, hosts: tuple[str, ...] | None = None) -> int:
    """The status of a request whose path and hosts are sent as they are."""
    with connected(page) as connection:
        connection.putrequest(method, path, skip_host=hosts is not None)
        for host in hosts or ():
            connection.putheader("Host", host)
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        return connection.getresponse().status


def test_requests_are_passed_on(page: PageServer, upstream: Upstream) -> None:
    headers = {"X-Explain-Class": "cat", "X-Api-Key": "secret", "Cookie": "a=b"}
    with requests.Session() as session:
        for path in ("predictions/pets", "predictions/pets/2.0", "explanations/pets"):
            began = time.time()
            answer = session.post(
                page.url + path, data=b"\xff image", headers=headers, timeout=TIMEOUT
            )
            asked, sent, body = upstream.asked.pop()
            assert (asked, body) == (f"/{path}", b"\xff image")
            assert sent["content-type"] == "application/octet-stream"
            assert sent["x-explain-class"] == "cat"
            assert not {"x-api-key", "cookie"} & set(sent)
            started = re.fullmatch(r"t=(\d+\.\d{3})", sent["x-request-start"])
            assert started is not None
            assert began - 0.001 <= float(started[1]) <= time.time()
            assert (answer.status_code, answer.text) == (422, "{}")
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers["Server-Timing"] == "decode;dur=1.00"
            assert answer.headers["X-Model-Version"] == "1.0"
            assert "X-Other" not in answer.headers


def test_models_are_listed(page: PageServer) -> None:
    answer = requests.get(f"{page.url}v2/models", timeout=TIMEOUT)
    assert answer.json() == {
        "default": "pets",
        "models": [
            {"name": "pets", "versions": ["2.0"]},
            {"name": "cats", "versions": ["5.0"]},
        ],
    }


@pytest.mark.parametrize(
    "hosts",
    [
        ("evil.example",),
        ("127.0.0.1.evil.example:8090",),
        ("localhost.",),
        ("evil.example@localhost",),
        ("localhost", "evil.example"),
        ("",),
        (),
    ],
)
def test_other_hosts_are_refused(
    page: PageServer, upstream: Upstream, hosts: tuple[str, ...]
) -> None:
    for method, path in (("GET", "/"), ("GET", "/v2/models"), ("POST", "/predictions/pets")):
        assert ask(page, method, path, hosts) == 421
    assert upstream.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST:9000", "[::1]:8090"])
def test_names_of_this_machine_are_hosts(page: PageServer, host: str) -> None:
    assert ask(page, "GET", "/v2/models", (host,)) == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/page/nothing.js", 404),
        ("GET", "/page/", 404),
        ("GET", "/page/../metadata.py", 404),
        ("GET", "/page/%2e%2e/metadata.py", 404),
        ("GET", "/models", 404),
        ("GET", "/v2", 404),
        ("GET", "/predictions/pets", 405),
        ("POST", "/", 404),
        ("POST", "/models", 404),
        ("POST", "/models?url=evil.mar", 404),
        ("POST", "/predictions/..", 404),
        ("POST", "/predictions/../models", 404),
        ("POST", "/predictions/pets?a=b", 404),
        ("POST", "/predictions/pets/1.0/2.0", 404),
        ("POST", "/v2/models/pets/infer", 404),
        ("PUT", "/predictions/pets", 501),
        ("DELETE", "/models/pets", 501),
        ("HEAD", "/", 501),
    ],
)
def test_nothing_else_is_served(
    page: PageServer, upstream: Upstream, method: str, path: str, status: int
) -> None:
    assert ask(page, method, path) == status
    assert upstream.asked == []


def test_a_body_has_a_length_and_a_limit(page: PageServer, upstream: Upstream) -> None:
    url = f"{page.url}predictions/pets"
    assert requests.post(url, data=bytes(MAX_BODY), timeout=TIMEOUT).status_code == 422
    assert len(upstream.asked.pop()[2]) == MAX_BODY
    # The response comes although the request is not read, as a browser looks at it only then.
    answer = requests.post(url, data=bytes(MAX_BODY + 1), timeout=TIMEOUT)
    assert answer.status_code == 413
    assert answer.json() == {
        "success": False,
        "error": {
            "code": 413,
            "message": f"expected a body of at most {MAX_BODY} bytes, got {MAX_BODY + 1}",
        },
    }
    assert requests.post(url, data=iter([b"pieces"]), timeout=TIMEOUT).status_code == 411
    for length in ("-1", "+1", "0x1", "1" * 19):
        with connected(page) as connection:
            connection.request("POST", "/predictions/pets", headers={"Content-Length": length})
            assert connection.getresponse().status == 411
    # Of a body that does not come whole, nothing is passed on.
    with socket.create_connection(page.server_address[:2], TIMEOUT) as peer:
        peer.sendall(b"POST /predictions/pets HTTP/1.1\r\nHost: localhost\r\n")
        peer.sendall(b"Content-Length: 9\r\n\r\nhalf")
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == b""
    assert upstream.asked == []


def test_the_page_has_the_headers_of_the_gateway(page: PageServer) -> None:
    types = {
        "": "text/html",
        "page/index.html": "text/html",
        "page/app.js": "text/javascript",
        "page/style.css": "text/css",
        "page/icon.svg": "image/svg+xml",
        "v2/models": "application/json",
    }
    for path, kind in types.items():
        headers = requests.get(page.url + path, timeout=TIMEOUT).headers
        assert headers["Content-Type"].partition(";")[0] == kind
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-cache"


def test_without_a_server_it_says_so(tmp_path: Path, upstream: Upstream) -> None:
    with serve_page(0, tmp_path) as page:

        def said(answer: Any) -> tuple[int, str]:
            return answer.status_code, answer.json()["error"]["message"]

        listed = requests.get(f"{page.url}v2/models", timeout=TIMEOUT)
        assert said(listed) == (503, "no model is served here")
        (tmp_path / "models.json").write_text("{")
        listed = requests.get(f"{page.url}v2/models", timeout=TIMEOUT)
        assert listed.status_code == 503
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            for port in (None, silent.getsockname()[1]):
                page.inference = port
                asked = requests.post(f"{page.url}predictions/pets", data=b"a", timeout=TIMEOUT)
                assert said(asked) == (503, "the model server is not available")
                assert asked.headers["Retry-After"] == "1"
        port = page.server_address[1]
        with pytest.raises(ServerError, match=f"port {port} .*--page-port"):
            PageServer(port, tmp_path)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)  # fmt: skip
def test_another_website_may_not_ask(
    page: PageServer, upstream: Upstream, headers: dict[str, str]
) -> None:
    before = len(upstream.asked)
    answer = requests.post(f"{page.url}predictions/pets", b"x", headers=headers, timeout=TIMEOUT)
    assert answer.status_code == 403
    assert len(upstream.asked) == before
    own = {"Origin": page.url.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    requests.post(f"{page.url}predictions/pets", b"x", headers=own, timeout=TIMEOUT)
    assert len(upstream.asked) == before + 1


def test_a_label_is_percent_encoded(page: PageServer, upstream: Upstream) -> None:
    def ask(label: str) -> int:
        headers = {"X-Explain-Class": label.encode()}
        url = f"{page.url}explanations/pets"
        return requests.post(url, b"x", headers=headers, timeout=TIMEOUT).status_code

    before = len(upstream.asked)
    assert ask("caf\u00e9") == 400
    assert len(upstream.asked) == before
    ask("caf%C3%A9")
    assert upstream.asked[-1][1]["x-explain-class"] == "caf%C3%A9"


def test_a_body_that_is_not_read_is_no_request(page: PageServer, upstream: Upstream) -> None:
    before = len(upstream.asked)
    hidden = b"POST /predictions/pets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx"
    with socket.create_connection(page.server_address[:2], TIMEOUT) as connection:
        head = f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(hidden)}\r\n\r\n"
        connection.sendall(head.encode() + hidden)
        with connection.makefile("rb") as answers:
            assert answers.read().count(b"HTTP/1.1 ") == 1
    assert len(upstream.asked) == before
