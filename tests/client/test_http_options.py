"""Which hosts are asked directly, and what is sent to a gateway."""

import pytest

from falconet.client import Client
from falconet.client.http_options import http_options, is_loopback
from tests.client.scripted import Scripted


def test_this_machine_is_asked_past_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Scripted() as server:
        with Client(server.url) as client:
            assert client.ready()
        assert server.asked[0].headers["X-Api-Key"] is None
        with Client(server.url, api_key="abc") as client:
            assert client.ready()
        assert server.asked[1].headers["X-Api-Key"] == "abc"
    with Client("http://example.com") as client:
        assert not client.ready(), "the proxy is asked, and there is none"


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


@pytest.mark.parametrize("scheme", ["https", "HTTPS", "Https"])
def test_tls_is_verified_however_it_is_written(scheme: str) -> None:
    assert http_options(f"{scheme}://example.com", "abc", None, 1.0)["verify"] is True


def test_http_needs_no_certificates() -> None:
    assert http_options("HTTP://example.com", None, None, 1.0)["verify"] is False


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080", "ftp://a", "https://", "https://a?x=1", "https://a#x", "https://me:pw@a",
        "https://a/?", "https://a#", "https://a/\n", "https://a:99999",
    ],
)  # fmt: skip
def test_wrong_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected a URL|Port out of range"):
        http_options(url, None, None, 1.0)


@pytest.mark.parametrize("key", ["abc\n", "", "a b", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(ValueError, match="expected an API key of visible ASCII") as refused:
        http_options("https://a", key, None, 1.0)
    assert not key or key not in str(refused.value)
