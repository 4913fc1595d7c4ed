"""What hostile clients are made of, and how their answers are judged."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from benchmarks.faults.attack import fair
from benchmarks.faults.damage import damaged, seeds
from benchmarks.faults.figures import calm_after, is_json_5xx, refused
from benchmarks.faults.floods import KINDS
from benchmarks.faults.hostile import Hostile, Maker
from benchmarks.load_generator.load import Answer, Target
from benchmarks.system import System
from falconet.native.decode import decode
from falconet.native.errors import ImageError


def test_the_same_seed_makes_the_same_requests() -> None:
    once, again, other = (list(islice(Maker("key", seed), 2000)) for seed in (1, 1, 2))
    assert once == again != other
    assert len(Counter(hostile.kind for hostile in once)) >= 14
    assert len({hostile.data for hostile in once}) > 1000


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_damaged_images_are_a_request_error_or_a_image() -> None:
    random = np.random.default_rng(5)
    files = seeds(random)
    outcomes = Counter[str]()
    for _ in range(1000):
        outcome = "image"
        try:
            pixels = decode(damaged(files, random), 10**6)
            assert pixels.shape[2] == 3
        except ImageError as error:
            outcome = type(error).__name__
        outcomes[outcome] += 1
    assert len(outcomes) == 5, outcomes


@pytest.mark.parametrize(
    ("end", "status", "body", "expected"),
    [
        ("wait", 0, b"", False),
        ("close", 0, b"", True),
        ("wait", -1, b"", False),
        ("half-close", -1, b"", False),
        ("wait", 415, b"{}", True),
        ("wait", 500, b"{}", False),
        ("wait", 503, b"{}", False),
        ("wait", 501, b"", True),
        ("wait", 200, b'{"predictions": []}', True),
        ("wait", 200, b'{"models": []}', False),
        ("wait", 200, b"", False),
    ],
)
def test_how_hostile_requests_should_be_answered(
    end: str, status: int, body: bytes, expected: bool
) -> None:
    hostile = Hostile("kind", b"", end)  # type: ignore[arg-type]
    assert fair(hostile, status, b"HTTP/1.1 ...\r\n\r\n" + body) == expected


# Bombs, whose bytes are few.
FEW = ("gzip", "instances: many")


def answer(intended: float, latency: float = 0.01, status: int = 200, body: bytes = b"x") -> Answer:
    return Answer(0, intended, intended, intended + latency, status, body)


def test_what_is_a_clear_error() -> None:
    assert is_json_5xx(answer(0, status=503, body=b'{"error": 1}'))
    assert not is_json_5xx(answer(0, status=503, body=b"<html>"))
    assert not is_json_5xx(answer(0, status=0, body=b"closed without an answer"))
    assert not refused(answer(0, status=429))
    assert refused(answer(0, status=429)._replace(retry_after="1"))


def test_calm_is_when_all_is_as_before() -> None:
    system = System("test", Target(0, []), bytes.decode, ["x"], list)
    before = [answer(i / 10) for i in range(50)]
    slow = [answer(10 + i / 10, 0.05) for i in range(10)]
    wrong = [answer(11 + i / 10, status=429) for i in range(10)]
    after = [answer(12 + i / 10) for i in range(50)]
    found = calm_after(system, [*before, *slow, *wrong, *after], 5.0, 10.0, 0.5)
    assert 1.8 < found <= 2.2
    assert calm_after(system, [*before, *slow, *wrong], 5.0, 10.0, 0.5) == float("inf")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "large" not in kind])
def test_floods_are_as_large_as_asked(kind: str) -> None:
    """The same bytes again, and nearly as many as were asked for."""
    for size in (20_000, 100_000):
        flood = KINDS[kind](size)
        assert flood == KINDS[kind](size)
        assert len(flood.body) <= size + 200_000
    assert kind.startswith(FEW) or len(flood.body) > 10_000
