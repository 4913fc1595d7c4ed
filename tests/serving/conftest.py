"""A small model whose versions say who answered, a server of it, and threads that ask."""

import io
import threading
from collections import Counter
from collections.abc import Callable, Iterator
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
from falconet.serving.configuration import Configuration
from falconet.serving.server import Server

TIMEOUT = 60
# Each version of the model has its own words, so that an answer says who gave it.
WORDS = {"1.0": "one", "2.0": "two", "3.0": "three"}


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def picture(small_weights: Weights) -> bytes:
    return png(small_weights.samples[0])


@pytest.fixture
def make(small_weights: Weights, tmp_path: Path) -> Callable[..., Path]:
    """Makes an archive ``pets`` of a version, whose samples have the answers its model gives."""

    def make_one(version: str, handler: Path = ENTRY) -> Path:
        word = WORDS.get(version, version)
        weights = small_weights
        classes = tuple(f"{word} {each}" for each in weights.spec.classes)
        exported = tmp_path / version
        export(replace(weights, spec=replace(weights.spec, classes=classes)), exported)
        found = Classifier(exported, precision="float32").classify(weights.samples)
        known = [
            Sample(png(pixels), best[0].label, best[0].probability)
            for pixels, best in zip(weights.samples, found, strict=True)
        ]
        made = tmp_path / f"made-{version}" / "pets.mar"
        serving = Serving(workers=1)
        archive(exported, made, handler=handler, version=version, serving=serving, known=known)
        return made

    return make_one


@pytest.fixture
def start_pets(tmp_path: Path, picture: bytes) -> Iterator[Callable[..., Server]]:
    """Starts a server with an archive, and returns when it is ready."""
    started: list[Server] = []

    def start_one(given: Path, name: str = "state") -> Server:
        configuration = Configuration.load(inference=0, management=0, metrics=0)
        server = Server.start(given, tmp_path / name, configuration)
        started.append(server)
        server.wait_ready(picture)
        return server

    yield start_one
    for each in started:
        each.stop()


@pytest.fixture
def running(make: Callable[..., Path], start_pets: Callable[..., Server]) -> Server:
    """A server with version 1.0."""
    return start_pets(make("1.0"))


class Load:
    """Threads that ask again and again, and count who answers."""

    def __init__(self, url: str, picture: bytes, headers: dict[str, str], threads: int) -> None:
        self.answers: Counter[str] = Counter()
        self._url, self._picture, self._headers = url, picture, headers
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def _ask(self) -> None:
        with requests.Session() as session:
            session.headers.update(self._headers)
            while not self._over.is_set():
                try:
                    response = session.post(self._url, data=self._picture, timeout=TIMEOUT)
                    answer = response.json()["predictions"][0]["label"].split()[0]
                except (requests.RequestException, ValueError, LookupError) as error:
                    answer = f"{type(error).__name__}: {error}"
                self.answers[answer] += 1
                self._over.wait(0.01)  # the cores are the server's too

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def load(picture: bytes) -> Callable[..., Load]:
    """Asks at an address as long as it is used."""

    def load_one(url: str, headers: dict[str, str] | None = None, threads: int = 4) -> Load:
        return Load(url, picture, headers or {}, threads)

    return load_one
