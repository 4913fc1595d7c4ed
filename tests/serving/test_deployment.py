"""Replacing a model of a real server, under load."""

import io
import json
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from falconet.handler import ENTRY
from falconet.handler.classifier import Classifier
from falconet.model.archive import Serving, archive
from falconet.model.export import export
from falconet.model.samples import Sample
from falconet.model.weights import Weights
from falconet.serving import deployment
from falconet.serving.configuration import Configuration
from falconet.serving.deployment import Deployment
from falconet.serving.errors import ServerError
from falconet.serving.record import Record, Release, alone
from falconet.serving.server import Server

pytestmark = pytest.mark.server

TIMEOUT = 60
# Each version of the model has its own words, so that an answer says who gave it.
WORDS = {"1.0": "one", "2.0": "two", "3.0": "three"}


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def make(weights: Weights, folder: Path, version: str, handler: Path = ENTRY) -> Path:
    """An archive whose samples have the answers that its model gives."""
    word = WORDS.get(version, version)
    spec = replace(weights.spec, classes=tuple(f"{word} {each}" for each in weights.spec.classes))
    exported = folder / version
    export(replace(weights, spec=spec), exported)
    found = Classifier(exported, precision="float32").classify(weights.samples)
    known = [
        Sample(png(pixels), best[0].label, best[0].probability)
        for pixels, best in zip(weights.samples, found, strict=True)
    ]
    output = folder / f"made-{version}" / "pets.mar"
    serving = Serving(workers=1)
    archive(exported, output, handler=handler, version=version, serving=serving, known=known)
    return output


@pytest.fixture
def running(small_weights: Weights, tmp_path: Path) -> Iterator[Server]:
    """A server with version 1.0."""
    first = make(small_weights, tmp_path, "1.0")
    configuration = Configuration.load(inference=0, management=0, metrics=0)
    server = Server.start(first, tmp_path / "state", configuration)
    try:
        server.wait_ready(png(small_weights.samples[0]))
        yield server
    finally:
        server.stop()


class Load:
    """Threads that ask without a pause, and count who answers."""

    def __init__(self, url: str, picture: bytes, threads: int = 4) -> None:
        self.answers: Counter[str] = Counter()
        self._url, self._picture = url, picture
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def _ask(self) -> None:
        with requests.Session() as session:
            while not self._over.is_set():
                try:
                    response = session.post(self._url, data=self._picture, timeout=TIMEOUT)
                    answer = response.json()["predictions"][0]["label"].split()[0]
                except (requests.RequestException, ValueError, LookupError) as error:
                    answer = f"{type(error).__name__}: {error}"
                self.answers[answer] += 1

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def said_by(server: Server, picture: bytes) -> str:
    return str(server.client.predict("pets", picture)["predictions"][0]["label"].split()[0])


def test_deploys_and_a_rollback_under_load_lose_nothing(
    running: Server, small_weights: Weights, tmp_path: Path
) -> None:
    picture = png(small_weights.samples[0])
    second = make(small_weights, tmp_path, "2.0")
    third = make(small_weights, tmp_path, "3.0")
    steps: list[str] = []
    with Load(running.client.prediction_url("pets"), picture) as load:
        for archive_, word in ((second, "two"), (third, "three")):
            release = Deployment.deploy(running, archive_, steps.append)
            assert said_by(running, picture) == word
            assert [each["modelVersion"] for each in running.client.versions("pets")] == [
                release.version
            ]
        back = Deployment.rollback(running, "pets", steps.append)
        assert (back.version, said_by(running, picture)) == ("2.0", "two")
        # What serves already is left alone.
        assert Deployment.deploy(running, second, steps.append) == back
    assert steps[-1] == "pets 2.0 is what serves already"
    assert load.answers.keys() == {"one", "two", "three"}, load.answers
    assert sum(load.answers.values()) > 100
    # What is neither served nor gone back to is removed.
    files = sorted(path.name for path in running.store.iterdir())
    assert [name.rpartition("-")[0] for name in files] == ["pets-2.0", "pets-3.0"]

    # Started again with the same archive a server serves what was deployed, with another that.
    running.stop()
    for given, word in ((tmp_path / "made-1.0" / "pets.mar", "two"), (third, "three")):
        configuration = Configuration.load(inference=0, management=0, metrics=0)
        again = Server.start(given, running.folder, configuration)
        try:
            again.wait_ready(picture)
            assert said_by(again, picture) == word
        finally:
            again.stop()


def test_what_fails_leaves_all_as_it_was(
    running: Server, small_weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = png(small_weights.samples[0])
    before = sorted(running.store.iterdir())

    def refused(archive_: Path, message: str) -> None:
        with pytest.raises(ServerError, match=message):
            Deployment.deploy(running, archive_)
        assert said_by(running, picture) == "one"
        assert [each["modelVersion"] for each in running.client.versions("pets")] == ["1.0"]
        assert sorted(running.store.iterdir()) == before

    good = make(small_weights, tmp_path, "2.0")
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
        make(small_weights, tmp_path, "3.0", breaking),
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
        Deployment.rollback(running, "pets")
    Deployment.deploy(running, good)
    assert said_by(running, picture) == "two"


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("step", ["_start", "_switch", "_drain"])
def test_what_is_killed_is_repeated(
    running: Server,
    small_weights: Weights,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    back: bool,
) -> None:
    """A deploy or a rollback, as if by SIGKILL: nothing of it cleans up."""
    picture = png(small_weights.samples[0])
    second = make(small_weights, tmp_path, "2.0")
    first = Record.load(running.folder)["pets"].serving
    word, before = ("one", "two") if back else ("two", "one")
    if back:
        Deployment.deploy(running, second)

    def change() -> Release:
        if back:
            return Deployment.rollback(running, "pets")
        return Deployment.deploy(running, second)

    whole = Deployment._start

    def killed(self: Deployment, *arguments: object) -> None:
        if step == "_start":  # when it is there, and before it is the default
            whole(self, *arguments)  # type: ignore[arg-type]
        if step == "_switch":  # when it is the default, and before that is written down
            self._client.set_default("pets", "1.0" if back else "2.0")
        raise KilledError  # _drain: before the old one goes

    with monkeypatch.context() as patched:
        patched.setattr(Deployment, step, killed)
        patched.setattr(Deployment, "_undo", lambda _: None)
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
    running: Server, small_weights: Weights, tmp_path: Path
) -> None:
    """Under the path that the server was started with."""
    picture = png(small_weights.samples[0])
    given = tmp_path / "made-1.0" / "pets.mar"
    make(small_weights, tmp_path, "2.0").replace(given)
    Deployment.deploy(running, given)
    assert said_by(running, picture) == "two"
    Deployment.rollback(running, "pets")
    assert said_by(running, picture) == "one"


def test_a_server_that_is_gone_leaves_what_was_begun(
    running: Server, small_weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first error is told, and the next deploy undoes what was left."""
    second = make(small_weights, tmp_path, "2.0")

    def gone(self: Deployment, *_: object) -> None:
        self.server.stop()
        raise ServerError("what went wrong first")

    steps: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(Deployment, "_start", gone)
        with pytest.raises(ServerError, match="what went wrong first"):
            Deployment.deploy(running, second, steps.append)
    assert steps[-1].startswith("not undone yet, as the server does not answer")
    record = Record.load(running.folder)["pets"]
    assert record.coming is not None
    configuration = Configuration.load(inference=0, management=0, metrics=0)
    given = tmp_path / "made-1.0" / "pets.mar"
    again = Server.start(given, running.folder, configuration)
    try:
        again.wait_ready(png(small_weights.samples[0]))
        steps.clear()
        Deployment.deploy(again, second, steps.append)
        assert steps[0] == "undoing what was interrupted: 2.0"
        assert said_by(again, png(small_weights.samples[0])) == "two"
    finally:
        again.stop()


class KilledError(BaseException):
    pass


def test_an_old_version_answers_what_it_has_begun(
    running: Server, small_weights: Weights, tmp_path: Path
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
    third = make(small_weights, tmp_path, "3.0")
    Deployment.deploy(running, make(small_weights, tmp_path, "2.0", slow))
    found: list[str] = []
    plain = png(np.full((32, 32, 3), 128, np.uint8))
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
            threading.Timer(2 * deployment.QUIET_SECONDS, release.touch).start()

    Deployment.deploy(running, third, say)
    assert time.monotonic() - switched[0] > 2 * deployment.QUIET_SECONDS
    thread.join()
    assert found == ["two"]
    assert said_by(running, plain) == "three"


def test_an_archive_that_is_not_as_it_was_made(small_weights: Weights, tmp_path: Path) -> None:
    made = make(small_weights, tmp_path, "1.0")

    def changed(name: str, content: bytes | None) -> Path:
        path = tmp_path / "changed.mar"
        with zipfile.ZipFile(made) as old, zipfile.ZipFile(path, "w") as new:
            for each in old.namelist():
                if each != name:
                    new.writestr(each, old.read(each))
            if content is not None:
                new.writestr(name, content)
        return path

    package = deployment.Package.verify(made)
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
            deployment.Package.verify(changed(name, content))
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
            deployment.Package.verify(changed("MAR-INF/MANIFEST.json", content))
    for content in (made.read_bytes()[:1000], b""):
        (tmp_path / "short.mar").write_bytes(content)
        with pytest.raises(ServerError, match="damaged, or not an archive"):
            deployment.Package.verify(tmp_path / "short.mar")


def test_a_damaged_record_is_said(tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text('{"pets": {"serving": {"vers')
    with pytest.raises(ServerError, match=r"models\.json: damaged .*; remove it to begin"):
        Record.load(tmp_path)
