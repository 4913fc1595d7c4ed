"""Three models on a real server behind a real gateway; test_models.py has all branches."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from falconet.serving.errors import ServerError
from falconet.serving.profile import Profile
from falconet.serving.rollout import deploy, rollback, undeploy
from falconet.serving.server import Server
from tests.supervised import supervised

pytestmark = [pytest.mark.server, pytest.mark.needs("nginx")]

KEY = {"X-Api-Key": "abc"}


def test_models_come_change_and_go_beside_each_other(
    given: Path,
    make: Callable[..., Path],
    start_pets: Callable[..., Server],
    load: Callable[..., Any],
    image: bytes,
    tmp_path: Path,
) -> None:
    """The classes of each begin with its version, so that answers say whose they are."""
    (tmp_path / "keys").write_text("abc me\n")
    cats = make("5.0", model="cats", workers=0)
    two = replace(Profile.of_machine("small"), workers=2)
    server = start_pets(given, also=[cats], profile=two)

    def said(url: str, path: str) -> str:
        response = requests.post(url + path, data=image, headers=KEY, timeout=60)
        answer = response.json()
        if response.status_code != 200:
            return str(answer["error"]["code"])
        return str(answer["predictions"][0]["label"].split()[0])

    def workers(model: str) -> list[int]:
        return [worker["pid"] for worker in server.client.describe(model)["workers"]]

    with supervised(server, tmp_path / "keys", image) as gateway:
        url = f"http://127.0.0.1:{gateway.port}"
        assert [said(url, path) for path in ("/predict", "/predict/pets")] == ["1.0", "1.0"]
        assert said(url, "/predict/cats") == "5.0"
        assert said(url, "/predict/fish") == "404"
        others = workers("cats")
        assert len(others) == 1, "of the two that they share"
        with ExitStack() as stack:
            asked, left = (
                stack.enter_context(load(f"{url}/predict/{each}", KEY, threads=2))
                for each in ("pets", "cats")
            )
            deploy([server], make("7.0", model="fish", workers=0))
            assert said(url, "/predict/fish") == "7.0"
            deploy([server], make("2.0"))
            assert said(url, "/predict") == "2.0"
            assert rollback([server], "pets").version == said(url, "/predict") == "1.0"
            assert [len(workers(each)) for each in ("pets", "fish")] == [1, 1]
            assert workers("cats") == others
        assert asked.answers.keys() == {"1.0", "2.0"}, asked.answers
        assert left.answers.keys() == {"5.0"}, left.answers
        with pytest.raises(ServerError, match="pets is the default model of the gateway"):
            undeploy([server], "pets")
        with load(f"{url}/predict/cats", KEY, threads=2) as asked:
            undeploy([server], "cats")
            time.sleep(0.5)
        # Each was answered, or told that there is no such model; none was cut off.
        assert asked.answers.keys() == {"5.0", "KeyError: 'predictions'"}, asked.answers
        assert set(server.client.models()) == {"pets", "fish"}
        deadline = time.monotonic() + 60
        while requests.get(f"{url}/ready", timeout=60).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        server.stop()
    server = start_pets(given, also=[cats], profile=two)
    assert server.models == ["pets", "fish"]
    assert set(server.client.models()) == {"pets", "fish"}
    for model, version in (("pets", "1.0"), ("fish", "7.0")):
        assert server.client.predict(model, image).label.startswith(f"{version} ")
