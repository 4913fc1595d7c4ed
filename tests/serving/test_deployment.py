"""Replacing a model of a real server, under load; test_failed_deploys.py has all branches."""

import io
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from falconet.cli.main import main
from falconet.handler import ENTRY
from falconet.model.archive import archive
from falconet.model.samples import Sample
from falconet.serving.deployment import Deployment
from falconet.serving.drain import quiet_seconds
from falconet.serving.errors import ServerError
from falconet.serving.record import Record
from falconet.serving.rollout import deploy, rollback
from falconet.serving.server import Server

pytestmark = pytest.mark.server

TIMEOUT = 60
Make = Callable[..., Path]
SaidBy = Callable[[Server], str]


def test_deploys_and_a_rollback_under_load_lose_nothing(
    running: Server,
    make: Make,
    said_by: SaidBy,
    load: Callable[..., Any],
) -> None:
    second, third = make("2.0"), make("3.0")
    steps: list[str] = []
    with load(running.client.prediction_url("pets")) as asked:
        for made, version in ((second, "2.0"), (third, "3.0")):
            assert deploy([running], made, steps.append).version == said_by(running) == version
            found = [each["modelVersion"] for each in running.client.versions("pets")]
            assert found == [version]
        back = rollback([running], "pets", steps.append)
        assert back.version == said_by(running) == "2.0"
        # What serves already is left alone.
        assert deploy([running], second, steps.append) == back
    assert steps[-1] == "pets 2.0 is already the current version"
    assert asked.answers.keys() == {"1.0", "2.0", "3.0"}, asked.answers
    assert sum(asked.answers.values()) > 100
    # All can be gone back to, or forward.
    files = sorted(path.name for path in running.store.iterdir())
    assert [name.rpartition("-")[0] for name in files] == ["pets-1.0", "pets-2.0", "pets-3.0"]
    scaled = CliRunner().invoke(main, ["scale", "2", "--state", str(running.folder)])
    assert scaled.output == "pets: 2 workers\n"
    assert len(running.client.describe("pets")["workers"]) == 2


def test_what_fails_or_is_interrupted_leaves_the_old_version(
    running: Server,
    make: Make,
    image: bytes,
    pets: Any,
    said_by: SaidBy,
    tmp_path: Path,
    given: Path,
    load: Callable[..., Any],
    start_pets: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model that fails, another answer than was recorded, and a deploy that is killed."""
    before = sorted(running.store.iterdir())

    def refused(made: Path, message: str) -> None:
        with pytest.raises(ServerError, match=message):
            deploy([running], made)
        assert said_by(running) == "1.0"
        assert [each["modelVersion"] for each in running.client.versions("pets")] == ["1.0"]
        assert sorted(running.store.iterdir()) == before

    crashing, unlike = (tmp_path / name / "pets.mar" for name in ("crashing", "unlike"))
    folder = tmp_path / "exported"
    shutil.copytree(pets.exported("2.0"), folder)
    torch.jit.script(Crashing()).save(folder / "model.pt")
    archive(folder, crashing, handler=ENTRY, version="3.0")
    known = [Sample(image, "2.0 dog", 0.123)]
    archive(pets.exported("2.0"), unlike, handler=ENTRY, version="4.0", known=known)
    with load(running.client.prediction_url("pets")) as asked:
        # It is found out in the warm-up of its first worker.
        died = r"pets 3\.0: a worker died while it loaded the model; see .*model_log\.log"
        refused(crashing, died)
        refused(unlike, r"pets 4\.0: expected 2\.0 dog with probability 0\.123 for sample 0, got")
    assert asked.answers.keys() == {"1.0"}, asked.answers

    second = make("2.0")
    steps: list[str] = []
    with monkeypatch.context() as patched:
        # When it is the default, before that is written down, and nothing of it cleans up.
        def killed(self: Deployment) -> None:
            self.server.client.set_default("pets", "2.0")
            raise KilledError

        patched.setattr(Deployment, "switch", killed)
        patched.setattr(Deployment, "undo", lambda _: None)
        patched.setattr(Deployment, "revert_switch", lambda *_: None)
        with pytest.raises(KilledError):
            deploy([running], second)
    assert said_by(running) == "2.0"
    deploy([running], second, steps.append)
    assert steps[0] == (
        "completing an interrupted deployment: version 2.0 is already the current version"
    )
    assert [each["modelVersion"] for each in running.client.versions("pets")] == ["2.0"]

    # One during which the server is gone.
    def gone(self: Deployment, *_: object) -> None:
        self.server.stop()
        raise ServerError("what went wrong first")

    with monkeypatch.context() as patched:
        patched.setattr(Deployment, "_start", gone)
        with pytest.raises(ServerError, match="what went wrong first"):
            rollback([running], "pets", steps.append)
    assert steps[-1].startswith("could not revert yet, the server does not respond")
    # Started again with the same archive a server serves what was deployed.
    again = start_pets(given)
    assert said_by(again) == "2.0"
    rollback([again], "pets", steps.append)
    assert said_by(again) == "1.0"
    record = Record.load(again.folder)["pets"]
    assert (record.coming, record.leaving) == (None, None)


class KilledError(BaseException):
    pass


class Crashing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[0] == 0, "cannot be run"
        return x.flatten(1)[:, :3]


def test_an_old_version_answers_what_it_has_begun(
    start_pets: Callable[..., Server], make: Make, said_by: SaidBy, tmp_path: Path
) -> None:
    """A request that is not answered until after the switch."""
    release = tmp_path / "go on"
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import pathlib, time\n"
        "from falconet.handler.service import Service\n"
        "service = None\n"
        "def handle(data, context):\n"
        "    global service\n"
        "    if data is None:\n"
        "        service = Service(context)\n"
        "        predict = service.classifier.predict\n"
        "        def slowly(rows):\n"
        "            plain = (rows == rows[:, :1, :1]).all()\n"
        f"            while plain and not pathlib.Path({str(release)!r}).exists():\n"
        "                time.sleep(0.1)\n"
        "            return predict(rows)\n"
        "        service.classifier.predict = slowly\n"
        "        return None\n"
        "    return service.handle(data, context)\n"
    )
    running = start_pets(make("2.0", slow))
    found: list[str] = []
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (128, 128, 128)).save(file, "PNG")
    plain = file.getvalue()
    url = running.client.prediction_url("pets")

    def ask() -> None:
        answer = requests.post(url, data=plain, timeout=TIMEOUT).json()
        found.append(answer["predictions"][0]["label"].split()[0])

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(1.0)  # on its way
    switched: list[float] = []
    # Longer than a version that has nothing to do is kept.
    longer = 2 * quiet_seconds()

    def say(step: str) -> None:
        if step == "version 3.0 is now the current version":
            assert thread.is_alive()
            switched.append(time.monotonic())
            threading.Timer(longer, release.touch).start()

    deploy([running], make("3.0"), say)
    assert time.monotonic() - switched[0] > longer
    thread.join()
    assert found == ["2.0"]
    assert said_by(running) == "3.0"
