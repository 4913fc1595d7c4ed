"""When more requests should come to a server."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from falconet.client import ResponseError
from falconet.serving import readiness
from falconet.serving.counts import Counts
from falconet.serving.errors import ServerError
from falconet.serving.readiness import FAILURE_THRESHOLD, Readiness

TIMEOUT = 60


class Fake:
    """In place of a client: says what a server with one model would."""

    def __init__(self) -> None:
        self.version = "1.0"
        self.states = ["READY", "READY"]
        self.pending = self.answered = 0
        self.begun: int | None = 0
        self.asked = 0
        self.success = self.lives = True

    def describe(self, model: str) -> dict[str, Any]:
        if not self.lives:
            raise ServerError("does not answer")
        return {
            "modelVersion": self.version,
            "workers": [{"status": state} for state in self.states],
            "jobQueueStatus": {"pendingRequests": self.pending},
            "responseTimeout": TIMEOUT,
        }

    def counted(self, model: str, version: str) -> Counts:
        return Counts(self.begun, self.answered, self.answered, float(self.answered))

    def predict(self, model: str, image: bytes) -> None:
        self.asked += 1
        if not self.success:
            raise ResponseError(500, "a request could not be predicted")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time that the server is watched by."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(readiness.time, "monotonic", lambda: now.seconds)
    return now


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def watched(fake: Fake, clock: SimpleNamespace) -> Readiness:
    return Readiness(cast(Any, SimpleNamespace(client=fake)), b"")


def test_one_worker_is_enough(fake: Fake, watched: Readiness) -> None:
    for states, expected in (
        (["READY", "READY"], True),
        (["READY", "LOADING"], True),
        (["LOADING"], False),
        ([], False),
    ):
        fake.states = states
        assert watched.check(["pets"]) == expected
    assert not watched.check([]), "a server without models answers nothing"


def test_a_server_that_has_nothing_to_do_is_asked(fake: Fake, watched: Readiness) -> None:
    assert watched.check(["pets"])
    assert fake.asked == 1
    fake.success = False
    assert not watched.check(["pets"])
    # Another handler counts nothing: it is asked in any case.
    fake.begun, fake.pending, fake.success = None, 7, True
    assert watched.check(["pets"])
    assert fake.asked == 3


def test_a_queue_is_no_reason(fake: Fake, watched: Readiness, clock: SimpleNamespace) -> None:
    """As of a model that takes a second for an image, under more than it can answer."""
    fake.begun, fake.pending = 16, 100
    for _ in range(300):
        clock.seconds += 1
        if clock.seconds % 16 == 0:  # batches
            fake.answered += 16
            fake.begun += 16
        assert watched.update(["pets"])
    assert fake.asked == 0, "one more would only wait"


def test_nothing_comes_out(fake: Fake, watched: Readiness, clock: SimpleNamespace) -> None:
    fake.begun = 1
    assert watched.check(["pets"])
    clock.seconds = TIMEOUT
    assert watched.check(["pets"])
    clock.seconds = TIMEOUT + 1
    fake.pending = 1
    assert not watched.check(["pets"])
    fake.answered = 1
    assert watched.check(["pets"])
    fake.pending = 0
    # Another version has all of its time.
    fake.version, fake.begun, fake.answered = "2.0", 1, 0
    assert watched.check(["pets"])


def test_one_bad_look_is_none(fake: Fake, watched: Readiness) -> None:
    fake.lives = False
    assert not watched.update(["pets"]), "at first it has to be seen to answer"
    fake.lives = True
    assert watched.update(["pets"])
    fake.lives = False
    assert [watched.update(["pets"]) for _ in range(FAILURE_THRESHOLD)] == [True] * (
        FAILURE_THRESHOLD - 1
    ) + [False]
    fake.lives = True
    assert watched.update(["pets"])
    for _ in range(10):  # every second look
        fake.lives = not fake.lives
        assert watched.update(["pets"])


def test_what_a_worker_died_with_is_no_reason_for_good(
    fake: Fake, watched: Readiness, clock: SimpleNamespace
) -> None:
    """It stays begun and not answered, as long as the version is there."""
    fake.begun, fake.answered = 5, 4
    for _ in range(3 * TIMEOUT):
        clock.seconds += 1
        assert watched.update(["pets"])
    assert fake.asked > 0
    fake.success = False
    assert not watched.check(["pets"])
