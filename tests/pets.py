"""A small model whose versions say who answered, servers of it, and threads that ask."""

import io
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from falconet.handler import ENTRY
from falconet.handler.classifier import Classifier
from falconet.handler.interval import REPORT_SECONDS
from falconet.model.archive import Serving, archive
from falconet.model.export import export
from falconet.model.samples import Sample
from falconet.model.weights import Weights
from falconet.serving import deployment, drain
from falconet.serving.configuration import Configuration
from falconet.serving.processes import stop_processes
from falconet.serving.profile import Profile
from falconet.serving.server import Server
from tests.stand_in import StandIn

TIMEOUT = 60


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class Pets:
    """Archives of a model ``pets``, or of another name, each made once.

    Attributes:
        image: one that it can be asked about.
    """

    def __init__(self, weights: Weights, folder: Path) -> None:
        self.image = png(weights.samples[0])
        self._weights, self._folder = weights, folder

    def exported(self, version: str) -> Path:
        """The folder of a version; its classes begin with its number, so that answers say whose."""
        folder = self._folder / version
        if not folder.exists():
            spec = self._weights.spec
            classes = tuple(f"{version} {each}" for each in spec.classes)
            export(replace(self._weights, spec=replace(spec, classes=classes)), folder)
        return folder

    def archive(
        self, version: str, handler: Path = ENTRY, model: str = "pets", workers: int = 1
    ) -> Path:
        """The archive of a version, with samples and the answers that its model gives."""
        folder = f"{version}-{hash(handler.read_bytes())}-{workers}"
        made = self._folder / folder / f"{model}.mar"
        if not made.exists():
            exported, samples = self.exported(version), self._weights.samples
            found = Classifier(exported, precision="float32").classify(samples)
            known = [
                Sample(png(pixels), best[0].label, best[0].probability)
                for pixels, best in zip(samples, found, strict=True)
            ]
            serving = Serving(workers=workers, batch_size=4)
            archive(exported, made, handler=handler, version=version, serving=serving, known=known)
        return made


@pytest.fixture(scope="session")
def pets(small_weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Pets:
    return Pets(small_weights, tmp_path_factory.mktemp("pets"))


@pytest.fixture(scope="session")
def image(pets: Pets) -> bytes:
    return pets.image


@pytest.fixture(scope="session")
def make(pets: Pets) -> Callable[..., Path]:
    """Makes an archive of a version; see :meth:`Pets.archive`."""
    return pets.archive


@pytest.fixture
def given(make: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of version 1.0 to start a server with, under a path that the test may change."""
    path = tmp_path / "given" / "pets.mar"
    path.parent.mkdir()
    shutil.copy(make("1.0"), path)
    return path


@pytest.fixture
def stand_in(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., StandIn]]:
    """Begins a stand-in for a server with version 1.0, or what was deployed on it."""
    # It has answered all when it is asked: there is nothing to wait for.
    monkeypatch.setenv(REPORT_SECONDS, "0.02")
    monkeypatch.setattr(drain, "MARGIN_SECONDS", 0.05)
    for each in (drain, deployment):
        monkeypatch.setattr(each, "POLL_SECONDS", 0.02)
    begun: list[StandIn] = []

    def begin(name: str = "state", also: Sequence[Path] = ()) -> StandIn:
        begun.append(StandIn.begin([given, *also], tmp_path / name))
        return begun[-1]

    yield begin
    for each in begun:
        each.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts a real server with an archive; whatever happens, it does not outlive the test."""
    started: list[Server] = []

    def start_one(
        archive: Path,
        name: str = "state",
        also: Sequence[Path] = (),
        profile: Profile | None = None,
    ) -> Server:
        configuration = Configuration.load(inference=0, management=0, metrics=0)
        started.append(Server.start([archive, *also], tmp_path / name, configuration, profile))
        return started[-1]

    yield start_one
    for server in started:
        # Without the seconds that TorchServe takes to stop.
        stop_processes(server.temporary, patience=0.0)
        server.stop()


@pytest.fixture
def start_pets(start: Callable[..., Server], image: bytes) -> Callable[..., Server]:
    """Starts a real server with an archive, and returns when it is ready."""

    def start_one(archive: Path, name: str = "state", **options: Any) -> Server:
        server = start(archive, name, **options)
        server.wait_ready(image)
        return server

    return start_one


@pytest.fixture
def running(given: Path, start_pets: Callable[..., Server]) -> Server:
    """A real server with version 1.0."""
    return start_pets(given)


@pytest.fixture
def said_by(image: bytes) -> Callable[[Server], str]:
    """Which version answers for a server."""

    def ask(server: Server) -> str:
        return server.client.predict("pets", image).label.split()[0]

    return ask


class Load:
    """Threads that ask again and again, and count who answers."""

    def __init__(self, url: str, image: bytes, headers: dict[str, str], threads: int) -> None:
        self.answers: Counter[str] = Counter()
        self._url, self._image, self._headers = url, image, headers
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def _ask(self) -> None:
        with requests.Session() as session:
            session.headers.update(self._headers)
            while not self._over.is_set():
                try:
                    response = session.post(self._url, data=self._image, timeout=TIMEOUT)
                    answer = response.json()["predictions"][0]["label"].split()[0]
                except (requests.RequestException, ValueError, LookupError) as error:
                    answer = f"{type(error).__name__}: {error}"
                self.answers[answer] += 1
                self._over.wait(0.1)  # the cores are the server's too

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def load(image: bytes) -> Callable[..., Load]:
    """Asks at an address as long as it is used."""

    def load_one(url: str, headers: dict[str, str] | None = None, threads: int = 4) -> Load:
        return Load(url, image, headers or {}, threads)

    return load_one
