"""Who is asked directly, and what is sent to a gateway."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from falconet.serving.session import is_loopback, open_session


@pytest.fixture
def echo() -> Iterator[str]:
    """The address of a server that answers with the API key it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            key = self.headers.get("X-Api-Key", "none").encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(key)))
            self.end_headers()
            self.wfile.write(key)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_this_machine_is_asked_past_proxies(echo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with open_session(echo) as session:
        assert session.get(echo, timeout=60).text == "none"
    with open_session(echo, api_key="abc") as session:
        assert session.get(echo, timeout=60).text == "abc"
    with open_session("http://example.com") as session:
        found = session.merge_environment_settings("http://example.com", {}, None, None, None)
        assert found["proxies"]["http"] == "http://127.0.0.1:9"


def test_certificates_to_trust_are_those_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/elsewhere.pem")
    with open_session("https://example.com", cacert=tmp_path / "own.pem") as session:
        found = session.merge_environment_settings(
            "https://example.com", {}, None, session.verify, None
        )
    assert found["verify"] == str(tmp_path / "own.pem")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True),
        ("a.localhost", True), ("10.0.0.1", False), ("example.com", False), ("::2", False),
        ("", False), ("localhost.example.com", False),
    ],
)  # fmt: skip
def test_what_is_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected
