"""The servers that are measured: how each is started, asked, and understood."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from document import ROOT

from falconet.handler import ENTRY
from falconet.model.archive import archive
from falconet.serving.configuration import Configuration
from falconet.serving.processes import processes_of
from falconet.serving.profile import Profile
from falconet.serving.server import Server

from .load import Target, post
from .task import Task
from .variation import Variation

PEERS = ROOT / "benchmarks" / "peers"
INSTALLED = ROOT / "build" / "peers"
READY_SECONDS = 180.0


@dataclass(frozen=True)
class System:
    """A server that runs.

    Attributes:
        name: for the tables.
        target: where it listens, and the requests that it understands.
        label: what an answer's body says; raises ValueError, KeyError or the like if it says
            nothing.
        labels: what it should say to each request.
        processes: all that belong to it at the moment.
    """

    name: str
    target: Target
    label: Callable[[bytes], str]
    labels: Sequence[str]
    processes: Callable[[], list[psutil.Process]]


def predictions_label(body: bytes) -> str:
    return str(json.loads(body)["predictions"][0]["label"])


def output_label(body: bytes) -> str:
    """In the JSON of a peer, which is the only output of its Open Inference Protocol."""
    return predictions_label(json.loads(body)["outputs"][0]["data"][0].encode())


def stock_label(body: bytes) -> str:
    return str(next(iter(json.loads(body))))


def noop_label(body: bytes) -> str:
    return str(json.loads(body)["label"])


@contextmanager
def falconet(
    task: Task, folder: Path, name: str = "Falconet", variation: Variation | None = None
) -> Iterator[System]:
    """Our handler with our configuration, or with something changed."""
    variation = variation or Variation("nothing", "")
    store = folder / "store" / f"{task.name}.mar"
    archive(task.folder, store, handler=ENTRY, serving=variation.served())
    configuration = variation.apply(shipped())
    with torchserve(store, folder, task, configuration) as (server, target):
        yield System(name, target, predictions_label, task.served, _processes(server))


@contextmanager
def noop(task: Task, folder: Path) -> Iterator[System]:
    """The same server with a handler that does nothing: a ceiling."""
    store = folder / "store" / f"{task.name}.mar"
    archive(task.folder, store, handler=PEERS / "torchserve" / "noop.py")
    labels = ["nothing"] * len(task.pictures)
    with torchserve(store, folder, task, shipped()) as (server, target):
        yield System("TorchServe, no-op handler", target, noop_label, labels, _processes(server))


@contextmanager
def stock(task: Task, folder: Path, *, tuned: bool = False, workers: int = 2) -> Iterator[System]:
    """TorchServe's image classifier; with its default configuration, or ``tuned``, with ours."""
    store = folder / "store"
    store.mkdir(parents=True, exist_ok=True)
    small = PEERS / "torchserve" / "stock.py"
    classes = json.loads((task.folder / "spec.json").read_text())["classes"]
    names = folder / "index_to_name.json"
    names.write_text(json.dumps({str(i): name for i, name in enumerate(classes)}))
    config = folder / "model-config.yaml"
    threads = max(1, (os.cpu_count() or 1) // workers)
    config.write_text(f"minWorkers: {workers}\nmaxWorkers: {workers}\ndeviceType: cpu\n")
    subprocess.run(
        [
            *(sys.executable, "-m", "model_archiver.model_packaging", "--force"),
            *("--model-name", task.name, "--version", "1.0", "--export-path", str(store)),
            *("--serialized-file", str(task.folder / "model.pt")),
            *("--handler", str(small) if task.name == "cifar" else "image_classifier"),
            *("--extra-files", str(names), "--config-file", str(config)),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    configuration = shipped()
    if not tuned:
        lines = ("disable_token_authorization=true",)
        configuration = replace(configuration, lines=lines, logging=None)
    # Workers without a limit of threads would fight for the cores; every guide says to set it.
    environment = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(captum())}
    configuration = replace(configuration, environment=environment)
    with torchserve(store / f"{task.name}.mar", folder, task, configuration) as (server, target):
        name = f"TorchServe, stock handler{', our configuration' if tuned else ''}"
        yield System(name, target, stock_label, task.float32, _processes(server))


def captum() -> Path:
    """What TorchServe's image handlers import, and its packages do not bring."""
    folder = INSTALLED / "captum"
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", str(folder), "captum==0.9.0"], check=True)
    return folder


def shipped() -> Configuration:
    """Ours, on free ports."""
    ports = Configuration.load(inference=0, management=0, metrics=0)
    return ports.fit(Profile.of_machine("small"))


@contextmanager
def torchserve(
    store: Path, folder: Path, task: Task, configuration: Configuration
) -> Iterator[tuple[Server, Target]]:
    """One that serves an archive, and the requests for it."""
    server = Server.start(store, folder / "state", configuration)
    try:
        server.wait_loaded(READY_SECONDS)
        path = f"/predictions/{store.stem}"
        requests = [post(path, picture, "image/jpeg") for picture in task.pictures]
        yield server, Target(server.ports.inference, requests)
    finally:
        server.stop()


def _processes(server: Server) -> Callable[[], list[psutil.Process]]:
    return lambda: processes_of(server.temporary)
