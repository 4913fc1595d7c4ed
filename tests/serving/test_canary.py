"""A version on trial, with a real server and gateway; test_verdicts.py has all verdicts."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from falconet.serving.canary import Trial, canary
from falconet.serving.errors import ServerError
from falconet.serving.gateway import Gateway
from falconet.serving.record import Record
from falconet.serving.routes import Routes
from falconet.serving.server import Server
from falconet.serving.split import Split
from tests.supervised import supervised

pytestmark = [pytest.mark.server, pytest.mark.needs("nginx")]

Make = Callable[..., Path]
KEY = {"X-Api-Key": "abc"}

# Answers, but late.
SLOW = """
import time
from falconet.handler.service import Service
service = None
def handle(data, context):
    global service
    if data is None:
        service = Service(context)
        return None
    time.sleep(0.5)
    return service.handle(data, context)
"""
# Answers its samples, which come one at a time, and fails after that.
BROKEN = """
from falconet.handler.service import Service
service, answered = None, 0
def handle(data, context):
    global service, answered
    if data is None:
        service = Service(context)
        return None
    answered += 1
    if answered > 4:
        service.classifier.predict = None
    return service.handle(data, context)
"""


@pytest.fixture
def gateway(running: Server, image: bytes, tmp_path: Path) -> Iterator[Gateway]:
    keys = tmp_path / "keys"
    keys.write_text("abc me\n")
    with supervised(running, keys, image) as gateway:
        yield gateway


def test_a_version_that_stands_the_trial_is_deployed_and_others_are_not(
    running: Server,
    gateway: Gateway,
    make: Make,
    load: Callable[..., Any],
    tmp_path: Path,
    image: bytes,
) -> None:
    url = f"http://127.0.0.1:{gateway.port}/predict"
    # Of versions that take their time to answer there are fewer answers.
    trial = Trial(percent=40, duration=3, min_requests=5)

    def ask() -> str:
        answer = requests.post(url, data=image, headers=KEY, timeout=60).json()
        return str(answer["predictions"][0]["label"].split()[0])

    handler = tmp_path / "handler.py"
    with load(url, KEY, threads=8) as asked:
        for source, message in (
            (SLOW, r"version 3\.0 is too slow: "),
            (BROKEN, r"version 3\.0 failed the trial: "),
        ):
            handler.write_text(source)
            with pytest.raises(ServerError, match=message):
                canary(running, make("3.0", handler), trial)
            assert Routes.load(gateway.folder) == Routes("pets", {"pets": Split()})
            assert [each["modelVersion"] for each in running.client.versions("pets")] == ["1.0"]
            assert Record.load(running.folder)["pets"].coming is None
            assert ask() == "1.0"
        # Of those that failed each was answered: the trial ends, and nothing is cut off.
        assert asked.answers.keys() == {"1.0", "3.0", "KeyError: 'predictions'"}, asked.answers
        before = asked.answers["1.0"]
        steps: list[str] = []
        # However long answers take on a machine that has other work.
        patient = replace(trial, max_latency_ratio=100.0)
        assert canary(running, make("2.0"), patient, steps.append).version == "2.0"
        assert ask() == "2.0"
    assert asked.answers["1.0"] > before, "the old one served meanwhile"
    assert any(step.startswith("version 2.0 passed the trial: ") for step in steps)
    assert asked.answers.keys() == {"1.0", "2.0", "3.0", "KeyError: 'predictions'"}
    assert [each["modelVersion"] for each in running.client.versions("pets")] == ["2.0"]
    assert Routes.load(gateway.folder) == Routes("pets", {"pets": Split()})
