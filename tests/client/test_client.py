"""Both clients: what they send, how they read responses, and when they send again."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from falconet.client import (
    AsyncClient,
    Client,
    ConnectionFailedError,
    Image,
    Prediction,
    ResponseError,
    Result,
    Retry,
)
from falconet.client.exchange import build_request
from falconet.native.data import Pixels
from tests.client.scripted import Response, Scripted, predictions

Ask = Callable[..., list[Result]]
QUICK = Retry(attempts=4, first_delay=0.001)


def ask(url: str, images: list[Image], retry: Retry = QUICK, **options: Any) -> list[Result]:
    with Client(url, api_key="abc", retry=retry, timeout=5) as client:
        return client.predict_batch(images, **options)


def ask_async(url: str, images: list[Image], retry: Retry = QUICK, **options: Any) -> list[Result]:
    async def run() -> list[Result]:
        async with AsyncClient(url, api_key="abc", retry=retry, timeout=5) as client:
            return await client.predict_batch(images, **options)

    return asyncio.run(run())


@pytest.fixture(params=[ask, ask_async])
def either(request: pytest.FixtureRequest) -> Ask:
    found: Ask = request.param
    return found


def test_files_and_pixels_are_sent_as_tensors(either: Ask, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"cat")
    pixels: Pixels = np.zeros((2, 3, 3), np.uint8)
    with Scripted(
        Response(200, predictions("cat", "dog"), {"X-Request-Id": "7"}),
        Response(200, predictions("dog")),
    ) as server:
        first, second = either(server.url, [tmp_path / "cat.jpg", b"dogs"])
        (third,) = either(server.url, [pixels[:, ::-1]], model="a-b", version="2.0")
    assert first == Result((Prediction("cat", 0.5),), "pets", "1.0", "7")
    assert (first.label, first.probability, second.label) == ("cat", 0.5, "dog")
    assert (third.label, third.request_id) == ("dog", "")
    files, array = server.asked
    assert (files.path, array.path) == ("/predict", "/predictions/a-b/2.0")
    assert files.headers["X-Api-Key"] == "abc"
    length = int(files.headers["Inference-Header-Content-Length"])
    (described,) = json.loads(files.body[:length])["inputs"]
    assert (described["datatype"], described["shape"]) == ("BYTES", [2])
    assert files.body[length:] == b"\x03\0\0\0cat\x04\0\0\0dogs"
    length = int(array.headers["Inference-Header-Content-Length"])
    (described,) = json.loads(array.body[:length])["inputs"]
    assert (described["datatype"], described["shape"]) == ("UINT8", [1, 2, 3, 3])
    assert array.body[length:] == bytes(18)


def test_one_image_has_one_result() -> None:
    with (
        Scripted(Response(200, predictions("cat"))) as server,
        Client(f"{server.url}/predictions/pets/1.0") as client,
    ):
        assert client.predict(b"cat").label == "cat"
    assert server.asked[0].path == "/predictions/pets/1.0"


@pytest.mark.parametrize("first", [Response(429), Response(503, b"busy"), Response(None)])
def test_overload_and_lost_connections_are_tried_again(either: Ask, first: Response) -> None:
    with Scripted(first, first, Response(200, predictions("cat"))) as server:
        (result,) = either(server.url, [b"cat"])
    assert result.label == "cat"
    assert len(server.asked) == 3


def test_the_server_says_how_long_to_wait(either: Ask) -> None:
    wait = {"Retry-After": "0.3"}
    with Scripted(Response(503, headers=wait), Response(200, predictions("cat"))) as server:
        began = time.monotonic()
        either(server.url, [b"cat"])
        assert time.monotonic() - began >= 0.3
    long = {"Retry-After": "3600"}
    with Scripted(Response(503, b"{}", long)) as server, pytest.raises(ResponseError):
        either(server.url, [b"cat"])
    assert len(server.asked) == 1
    date = {"Retry-After": "Fri, 27 Nov 2026 10:00:00 GMT"}
    with Scripted(Response(503, headers=date), Response(200, predictions("cat"))) as server:
        either(server.url, [b"cat"])


def test_after_the_last_attempt_the_error_is_raised(either: Ask) -> None:
    with Scripted(*[Response(429)] * 9) as server:
        with pytest.raises(ResponseError, match=r"^status 429: ") as refused:
            either(server.url, [b"cat"])
        assert refused.value.status == 429
        assert len(server.asked) == 4
        with pytest.raises(ResponseError):
            either(server.url, [b"cat"], Retry(attempts=1))
        assert len(server.asked) == 5
    with pytest.raises(ConnectionFailedError, match=r"^http://127\.0\.0\.1:\d+/predict: "):
        either(server.url, [b"cat"])


def test_a_slow_server_is_not_asked_again() -> None:
    with (
        Scripted(Response(200, predictions("cat"), seconds=0.5)) as server,
        Client(server.url, timeout=0.1, retry=QUICK) as client,
    ):
        with pytest.raises(ConnectionFailedError, match="timed out"):
            client.predict(b"cat")
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "inputs[0][1]: truncated"}, "image 1: truncated"),
        ({"error": {"code": 422, "message": "truncated"}}, "truncated"),
        ({}, "expected predictions from a Falconet server, got: {}"),
        ([], "expected predictions from a Falconet server, got: []"),
    ],
)
def test_errors_are_as_the_server_words_them(either: Ask, body: Any, message: str) -> None:
    response = Response(422, json.dumps(body).encode(), {"X-Request-Id": "7"})
    with Scripted(response) as server, pytest.raises(ResponseError) as refused:
        either(server.url, [b"cat", b"dog"])
    assert (refused.value.status, refused.value.message) == (422, message)
    assert refused.value.request_id == "7"
    assert len(server.asked) == 1, "no repetition makes the image better"


def test_of_one_image_the_index_is_not_said(either: Ask) -> None:
    response = Response(422, b'{"error": "inputs[0][0]: truncated"}')
    with Scripted(response) as server, pytest.raises(ResponseError, match=r"^status 422: trunc"):
        either(server.url, [b"cat"])


NONE = (
    b'{"model_name":"a","model_version":"1","outputs":['
    + b",".join(
        b'{"name":"%s","shape":[1,0],"data":[]}' % name for name in (b"label", b"probability")
    )
    + b"]}"
)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>", b"{}", b'{"outputs": 1}', b"", b"[1]", b"[" * 100_000, NONE,
        predictions("cat", "dog"),
    ],
)  # fmt: skip
def test_another_server_is_recognized(either: Ask, body: bytes) -> None:
    with (
        Scripted(Response(200, body)) as server,
        pytest.raises(ResponseError, match="expected predictions from a Falconet server"),
    ):
        either(server.url, [b"cat"])


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([], ValueError, "expected at least one image"),
        ([3], TypeError, "expected an image as a path, bytes or a uint8 array .* got int"),
        ([np.zeros((2, 2))], ValueError, r"expected uint8 arrays .* got float64 of shape \(2, 2\)"),
        ([np.zeros((2, 2, 3), np.uint8), b"x"], TypeError, "either files or arrays"),
        (
            [np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)],
            ValueError,
            "of the same shape",
        ),
    ],
)
def test_what_is_no_image_is_not_sent(
    images: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_request("http://127.0.0.1", images, None, None)


@pytest.mark.parametrize(
    ("url", "model", "version", "message"),
    [
        ("http://a", "..", "models", "expected a name"),
        ("http://a", "pets", "a/b", "expected a name"),
        ("http://a", None, "1.0", "expected a model with the version"),
        ("http://a/predict", "pets", None, "expected a URL without a path"),
    ],
)
def test_wrong_urls_are_said(
    url: str, model: str | None, version: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build_request(url, [b"cat"], model, version)


def test_delays_grow_and_differ() -> None:
    retry = Retry(attempts=9, first_delay=0.1, max_delay=2.0)
    found = [[retry.delay(attempt, 503, {}) or 0 for _ in range(50)] for attempt in (1, 2, 8)]
    for delays, usual in zip(found, (0.1, 0.2, 2.0), strict=True):
        assert usual / 2 <= min(delays) < max(delays) <= usual
    stated = [retry.delay(1, 503, {"retry-after": "1"}) or 0 for _ in range(50)]
    assert 1 <= min(stated) < max(stated) <= 1.5
    assert retry.delay(9, 503, {}) is None
    assert retry.delay(1, 503, {"retry-after": "2"}) == 2, "no longer than the longest"
    for never in ("3", "inf"):
        assert retry.delay(1, 503, {"retry-after": never}) is None
    assert retry.delay(1, 500, {}) is None
    assert retry.delay(1, None, {}) is not None


def test_ready_is_what_the_gateway_says() -> None:
    async def ready(url: str) -> bool:
        async with AsyncClient(url) as client:
            return await client.ready()

    with Scripted(Response(200), Response(503), Response(200), Response(503)) as server:
        with Client(f"{server.url}/predictions/pets") as client:
            assert client.ready()
            assert not client.ready()
        assert asyncio.run(ready(server.url))
        assert not asyncio.run(ready(server.url))
    assert {asked.path for asked in server.asked} == {"/ready"}
    with Client(server.url) as client:
        assert not client.ready()
    assert not asyncio.run(ready(server.url))
