"""Replacing a model of a real server, under load."""

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from falconet.handler import ENTRY
from falconet.model.archive import Serving, archive
from falconet.model.samples import Sample
from falconet.model.weights import Weights
from falconet.serving.deployment import Deployment
from falconet.serving.drain import QUIET_SECONDS
from falconet.serving.errors import ServerError
from falconet.serving.package import Package
from falconet.serving.record import Record, Release, alone
from falconet.serving.rollout import deploy, rollback
from falconet.serving.server import Server

pytestmark = pytest.mark.server

TIMEOUT = 60
Make = Callable[..., Path]


def said_by(server: Server, picture: bytes) -> str:
    return str(server.client.predict("pets", picture)["predictions"][0]["label"].split()[0])


def test_deploys_and_a_rollback_under_load_lose_nothing(
    running: Server,
    make: Make,
    picture: bytes,
    tmp_path: Path,
    load: Callable[..., Any],
    start_pets: Callable[..., Server],
) -> None:
    second = make("2.0")
    third = make("3.0")
    steps: list[str] = []
    with load(running.client.prediction_url("pets")) as asked:
        for archive_, word in ((second, "two"), (third, "three")):
            release = deploy([running], archive_, steps.append)
            assert said_by(running, picture) == word
            assert [each["modelVersion"] for each in running.client.versions("pets")] == [
                release.version
            ]
        back = rollback([running], "pets", steps.append)
        assert (back.version, said_by(running, picture)) == ("2.0", "two")
        # What serves already is left alone.
        assert deploy([running], second, steps.append) == back
    assert steps[-1] == "pets 2.0 is what serves already"
    assert asked.answers.keys() == {"one", "two", "three"}, asked.answers
    assert sum(asked.answers.values()) > 100
    # What is neither served nor gone back to is removed.
    files = sorted(path.name for path in running.store.iterdir())
    assert [name.rpartition("-")[0] for name in files] == ["pets-2.0", "pets-3.0"]

    # Started again with the same archive a server serves what was deployed, with another that.
    running.stop()
    for given, word in ((tmp_path / "made-1.0" / "pets.mar", "two"), (third, "three")):
        again = start_pets(given)
        assert said_by(again, picture) == word
        again.stop()


def test_what_fails_leaves_all_as_it_was(
    running: Server, make: Make, picture: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(running.store.iterdir())

    def refused(archive_: Path, message: str) -> None:
        with pytest.raises(ServerError, match=message):
            deploy([running], archive_)
        assert said_by(running, picture) == "one"
        assert [each["modelVersion"] for each in running.client.versions("pets")] == ["1.0"]
        assert sorted(running.store.iterdir()) == before

    good = make("2.0")
    same = tmp_path / "same" / "pets.mar"
    same.parent.mkdir()
    archive(tmp_path / "2.0", same, handler=ENTRY, version="1.0", serving=Serving(workers=1))
    refused(same, r"another archive serves as version 1\.0; give this one its own")
    same.unlink()
    archive(tmp_path / "2.0", same, handler=ENTRY, version="1", serving=Serving(workers=1))
    refused(same, "another archive serves as version 1; ")
    other = tmp_path / "cats.mar"
    archive(tmp_path / "2.0", other, handler=ENTRY, version="1.0")
    refused(other, "no model cats runs here, but pets")

    # A worker that dies.
    breaking = tmp_path / "breaking.py"
    breaking.write_text("def handle(data, context):\n    raise SystemExit('out of luck')\n")
    refused(
        make("3.0", breaking),
        r"pets 3\.0: a worker died while it loaded the model; see .*model_log\.log",
    )
    # One that answers something else than was recorded.
    unlike = tmp_path / "unlike" / "pets.mar"
    known = [Sample(picture, "two dog", 0.123)]
    archive(tmp_path / "2.0", unlike, handler=ENTRY, version="4.0", known=known)
    refused(unlike, r"pets 4\.0: expected two dog with probability 0\.123 for sample 0, got")

    # No room in the store: what has come that far is removed.
    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"a part")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("falconet.serving.store.shutil.copyfile", full)
        refused(good, "No space left on device")
    with alone(running.folder):
        refused(good, "another command is changing the models")
    with pytest.raises(ServerError, match="nothing has been deployed that could be rolled back"):
        rollback([running], "pets")
    deploy([running], good)
    assert said_by(running, picture) == "two"


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("step", ["_start", "switch", "drain"])
def test_what_is_killed_is_repeated(
    running: Server,
    make: Make,
    picture: bytes,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    back: bool,
) -> None:
    """A deploy or a rollback, as if by SIGKILL: nothing of it cleans up."""
    second = make("2.0")
    first = Record.load(running.folder)["pets"].serving
    word, before = ("one", "two") if back else ("two", "one")
    if back:
        deploy([running], second)

    def change() -> Release:
        if back:
            return rollback([running], "pets")
        return deploy([running], second)

    whole = Deployment._start

    def killed(self: Deployment, *arguments: object) -> None:
        if step == "_start":  # when it is there, and before it is the default
            whole(self, *arguments)  # type: ignore[arg-type]
        if step == "switch":  # when it is the default, and before that is written down
            self._client.set_default("pets", "1.0" if back else "2.0")
        raise KilledError  # drain: before the old one goes

    with monkeypatch.context() as patched:
        patched.setattr(Deployment, step, killed)
        patched.setattr(Deployment, "undo", lambda _: None)
        patched.setattr(Deployment, "take_back", lambda *_: None)
        with pytest.raises(KilledError):
            change()
    assert said_by(running, picture) == (before if step == "_start" else word)

    release = change()
    assert said_by(running, picture) == word
    assert [each["modelVersion"] for each in running.client.versions("pets")] == [release.version]
    record = Record.load(running.folder)["pets"]
    assert record.serving == release
    assert (record.coming, record.leaving) == (None, None)
    assert (release == first) == back
    assert {path.name for path in running.store.iterdir()} == record.files()


def test_an_archive_that_is_made_anew_is_not_what_was_deployed(
    running: Server, make: Make, picture: bytes, tmp_path: Path
) -> None:
    """Under the path that the server was started with."""
    given = tmp_path / "made-1.0" / "pets.mar"
    make("2.0").replace(given)
    deploy([running], given)
    assert said_by(running, picture) == "two"
    rollback([running], "pets")
    assert said_by(running, picture) == "one"


def test_a_server_that_is_gone_leaves_what_was_begun(
    running: Server,
    make: Make,
    picture: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start_pets: Callable[..., Server],
) -> None:
    """The first error is told, and the next deploy undoes what was left."""
    second = make("2.0")

    def gone(self: Deployment, *_: object) -> None:
        self.server.stop()
        raise ServerError("what went wrong first")

    steps: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(Deployment, "_start", gone)
        with pytest.raises(ServerError, match="what went wrong first"):
            deploy([running], second, steps.append)
    assert steps[-1].startswith("not undone yet, as the server does not answer")
    record = Record.load(running.folder)["pets"]
    assert record.coming is not None
    again = start_pets(tmp_path / "made-1.0" / "pets.mar")
    steps.clear()
    deploy([again], second, steps.append)
    assert steps[0] == "undoing what was interrupted: 2.0"
    assert said_by(again, picture) == "two"


class KilledError(BaseException):
    pass


def test_an_old_version_answers_what_it_has_begun(
    running: Server, make: Make, picture: bytes, tmp_path: Path
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
    third = make("3.0")
    deploy([running], make("2.0", slow))
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

    def say(step: str) -> None:
        if step == "3.0 serves":
            assert thread.is_alive()
            switched.append(time.monotonic())
            # Longer than a version that has nothing to do is kept.
            threading.Timer(2 * QUIET_SECONDS, release.touch).start()

    deploy([running], third, say)
    assert time.monotonic() - switched[0] > 2 * QUIET_SECONDS
    thread.join()
    assert found == ["two"]
    assert said_by(running, plain) == "three"


def test_an_archive_that_is_not_as_it_was_made(
    make: Make, small_weights: Weights, tmp_path: Path
) -> None:
    made = make("1.0")

    def changed(name: str, content: bytes | None) -> Path:
        path = tmp_path / "changed.mar"
        with zipfile.ZipFile(made) as old, zipfile.ZipFile(path, "w") as new:
            for each in old.namelist():
                if each != name:
                    new.writestr(each, old.read(each))
            if content is not None:
                new.writestr(name, content)
        return path

    package = Package.verify(made)
    assert (package.model, package.version) == ("pets", "1.0")
    assert len(package.samples) == len(small_weights.samples)
    cases = [
        ("model.pt", b"other", r"not as it was made, or incomplete: model\.pt"),
        ("model.pt", None, r"not as it was made, or incomplete: model\.pt"),
        ("more.py", b"import os", r"not as it was made, or incomplete: more\.py"),
        ("checksums.json", None, r"lacks 'checksums\.json'; expected an archive that"),
        ("checksums.json", b"[", r"changed\.mar: "),
        ("checksums.json", b"[1, 2]", r"changed\.mar: "),
    ]
    for name, content, message in cases:
        with pytest.raises(ServerError, match=message):
            Package.verify(changed(name, content))
    named = json.loads(zipfile.ZipFile(made).read("MAR-INF/MANIFEST.json"))
    for field, value, message in (
        (
            "modelVersion",
            "../1",
            r"version: expected a number above 0 like 2 or 2\.1, got '\.\./1'",
        ),
        ("modelName", "../pets", r"expected a model's name of letters.* got '\.\./pets'"),
        ("handler", "other.py", r"not as it was made: there is no checksum of other\.py"),
    ):
        content = json.dumps({"model": {**named["model"], field: value}}).encode()
        with pytest.raises(ServerError, match=message):
            Package.verify(changed("MAR-INF/MANIFEST.json", content))
    for content in (made.read_bytes()[:1000], b""):
        (tmp_path / "short.mar").write_bytes(content)
        with pytest.raises(ServerError, match="damaged, or not an archive"):
            Package.verify(tmp_path / "short.mar")


def test_a_damaged_record_is_said(tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text('{"pets": {"serving": {"vers')
    with pytest.raises(ServerError, match=r"models\.json: damaged .*; remove it to begin"):
        Record.load(tmp_path)
