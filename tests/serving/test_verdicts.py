"""How a trial judges a version, by the gateway's log; on a stand-in for TorchServe.

test_canary.py shows the same with the real TorchServe and nginx.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from falconet.serving import canary as trials
from falconet.serving.canary import Trial, canary
from falconet.serving.errors import ServerError
from falconet.serving.gateway import ACCESS_LOG
from falconet.serving.record import Record
from falconet.serving.routes import Routes
from falconet.serving.split import Split
from tests.stand_in import StandIn

Make = Callable[..., Path]
Answer = tuple[int, float]  # status, and seconds
GOOD = (200, 0.010)


@pytest.fixture
def server(stand_in: Callable[..., StandIn], monkeypatch: pytest.MonkeyPatch) -> StandIn:
    monkeypatch.setattr(trials, "POLL_SECONDS", 0.05)
    return stand_in()


@contextmanager
def gateway(server: StandIn, old: Answer, new: Answer) -> Iterator[None]:
    """In place of nginx: follows the record, and logs answers of both versions."""
    server.gateway.mkdir(exist_ok=True)
    log = server.gateway / ACCESS_LOG
    log.touch()
    Routes("pets", {"pets": Split()}).save(server.gateway)
    over = threading.Event()

    def follow() -> None:
        while not over.wait(0.01):
            split = Record.load(server.folder)["pets"].split
            routes = Routes("pets", {"pets": split})
            if routes != Routes.load(server.gateway):
                routes.save(server.gateway)
            asked = {"/predictions/pets": old}
            if split.percent:
                asked[f"/predictions/pets/{split.version}"] = new
            with log.open("a") as file:
                for path, (status, seconds) in asked.items():
                    entry = {"asked": path, "status": status, "upstream_seconds": str(seconds)}
                    file.write(json.dumps(entry) + "\n")

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def serves(server: StandIn, version: str) -> None:
    assert [each["modelVersion"] for each in server.client.versions("pets")] == [version]
    record = Record.load(server.folder)["pets"]
    assert (record.coming, record.percent, record.serving.version) == (None, 0, version)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            GOOD,
            (500, 0.01),
            r"version 2\.0 failed the trial: \d+ responses, \d+ failed, .*; current version: \d+",
        ),
        (GOOD, (503, 0.01), r"version 2\.0 failed the trial: "),
        (
            GOOD,
            (200, 0.030),
            r"version 2\.0 is too slow: .*p95 30 ms; current version: .*p95 10 ms",
        ),
        # What a client did wrong, or was too much, is no answer to judge by.
        (GOOD, (415, 0.01), r"expected at least 5 responses of version 2\.0 for a decision, got 0"),
        (GOOD, (429, 0.01), r"expected at least 5 responses of version 2\.0 for a decision, got 0"),
    ],
)
def test_a_version_that_is_worse_is_undone(
    server: StandIn, make: Make, old: Answer, new: Answer, message: str
) -> None:
    trial = Trial(percent=40, duration=0.5, min_requests=5)
    with gateway(server, old, new), pytest.raises(ServerError, match=message):
        canary(server, make("2.0"), trial)
    serves(server, "1.0")
    assert Routes.load(server.gateway) == Routes("pets", {"pets": Split()})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (GOOD, GOOD),
        (GOOD, (200, 0.014)),  # less than 1.5 times as long
        ((200, 0.001), (200, 0.005)),  # within what nginx's whole milliseconds tell
        ((500, 0.01), GOOD),  # better than what serves
    ],
)
def test_a_version_that_is_as_good_is_deployed(
    server: StandIn, make: Make, old: Answer, new: Answer
) -> None:
    steps: list[str] = []
    with gateway(server, old, new):
        trial = Trial(percent=40, duration=0.5, min_requests=5)
        assert canary(server, make("2.0"), trial, steps.append).version == "2.0"
        # What serves already is left alone.
        assert canary(server, make("2.0"), trial, steps.append).version == "2.0"
    serves(server, "2.0")
    assert any(step.startswith("version 2.0 passed the trial: ") for step in steps)
    assert steps[-1] == "pets 2.0 is already the current version"


def test_a_version_that_fails_from_the_start_is_not_tried_to_the_end(
    server: StandIn, make: Make
) -> None:
    trial = Trial(percent=40, duration=3600.0, min_requests=5)
    with (
        gateway(server, GOOD, (500, 0.01)),
        pytest.raises(ServerError, match=r"version 2\.0 failed the trial: "),
    ):
        canary(server, make("2.0"), trial)
    serves(server, "1.0")


def test_too_few_answers_are_no_verdict(server: StandIn, make: Make) -> None:
    trial = Trial(percent=40, duration=0.2, min_requests=10_000)
    with (
        gateway(server, GOOD, GOOD),
        pytest.raises(ServerError, match=r"expected at least 10000 responses of version 2\.0"),
    ):
        canary(server, make("2.0"), trial)
    serves(server, "1.0")


def test_without_a_gateway_there_is_no_trial(server: StandIn, make: Make) -> None:
    with pytest.raises(ServerError, match="no gateway runs with"):
        canary(server, make("2.0"), Trial())
    serves(server, "1.0")
