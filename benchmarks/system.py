"""The servers that are measured: how each is started, asked, and understood."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from falconet.handler import ENTRY
from falconet.model.archive import Serving, archive
from falconet.serving.configuration import Configuration
from falconet.serving.processes import processes_of
from falconet.serving.profile import Name, Profile
from falconet.serving.server import Server

from .document import ROOT
from .load_generator.encode import post
from .load_generator.load import Target, closed_loop
from .task import Task

PEERS = ROOT / "benchmarks" / "peers"
INSTALLED = ROOT / "build" / "peers"
READY_SECONDS = 180.0
# Java compiles what it finds to be busy for about so long.
WARM_UP_SECONDS = 10.0


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
        server: what it is, if it is a TorchServe.
    """

    name: str
    target: Target
    label: Callable[[bytes], str]
    labels: Sequence[str]
    processes: Callable[[], list[psutil.Process]]
    server: Server | None = None

    def java(self) -> psutil.Process:
        """The process that is TorchServe itself."""
        (java,) = (each for each in self.processes() if "java" in each.name())
        return java


def warm_up(system: System) -> None:
    """Batches of all sizes, and what a JVM compiles first."""
    closed_loop(system.target, 32, WARM_UP_SECONDS)


def predictions_label(body: bytes) -> str:
    return str(json.loads(body)["predictions"][0]["label"])


def output_label(body: bytes) -> str:
    """In the JSON of a peer, which is the only output of its Open Inference Protocol."""
    return predictions_label(json.loads(body)["outputs"][0]["data"][0].encode())


def stock_label(body: bytes) -> str:
    return str(next(iter(json.loads(body))))


def noop_label(body: bytes) -> str:
    return str(json.loads(body)["label"])


def falconet(
    task: Task,
    name: str = "Falconet",
    serving: Serving | None = None,
    configuration: Configuration | None = None,
) -> AbstractContextManager[System]:
    """Our handler with our configuration, or with something changed."""
    serving = serving or Serving(precision=task.precision)
    pack = partial(archive, task.folder, handler=ENTRY, serving=serving)
    understood = (predictions_label, task.served)
    return torchserve(name, task, understood, pack, configuration or shipped())


def noop(task: Task) -> AbstractContextManager[System]:
    """The same server with a handler that does nothing: a ceiling."""
    pack = partial(archive, task.folder, handler=PEERS / "torchserve" / "noop.py")
    understood = (noop_label, ["nothing"] * len(task.images))
    return torchserve("TorchServe, no-op handler", task, understood, pack, shipped())


def stock(
    task: Task, *, tuned: bool = False, workers: int = 2, device: str = "cpu"
) -> AbstractContextManager[System]:
    """TorchServe's image classifier; with its default configuration, or ``tuned``, with ours."""
    configuration = shipped()
    if not tuned:
        lines = ("disable_token_authorization=true",)
        configuration = replace(configuration, lines=lines, logging=None)
    # Workers without a limit of threads would fight for the cores; every guide says to set it.
    threads = max(1, (os.cpu_count() or 1) // workers)
    environment = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(captum())}
    return torchserve(
        f"TorchServe, stock handler{', our configuration' if tuned else ''}",
        task,
        (stock_label, task.float32),
        partial(_pack_stock, task, workers, device),
        replace(configuration, environment=environment),
    )


def _pack_stock(task: Task, workers: int, device: str, output: Path) -> None:
    output.parent.mkdir(parents=True)
    classes = json.loads((task.folder / "spec.json").read_text())["classes"]
    names = output.parent / "index_to_name.json"
    names.write_text(json.dumps({str(i): name for i, name in enumerate(classes)}))
    config = output.parent / "model-config.yaml"
    kind = "gpu" if device == "cuda" else device
    config.write_text(f"minWorkers: {workers}\nmaxWorkers: {workers}\ndeviceType: {kind}\n")
    small = str(PEERS / "torchserve" / "stock.py")
    subprocess.run(
        [
            *(sys.executable, "-m", "model_archiver.model_packaging", "--force"),
            *("--model-name", task.name, "--version", "1.0"),
            *("--export-path", str(output.parent)),
            *("--serialized-file", str(task.folder / "model.pt")),
            *("--handler", "image_classifier" if task.name.startswith("resnet") else small),
            *("--extra-files", str(names), "--config-file", str(config)),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def captum() -> Path:
    """What TorchServe's image handlers import, and its packages do not bring."""
    return install("captum", "0.9.0")


def install(package: str, version: str) -> Path:
    """A folder with a package alone, installed if it is not there, to be put on a path."""
    folder = INSTALLED / package
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", str(folder), f"{package}=={version}"], check=True)
    return folder


def shipped(profile: Name = "small") -> Configuration:
    """Ours, on free ports."""
    ports = Configuration.load(inference=0, management=0, metrics=0)
    return ports.fit(Profile.of_machine(profile))


@contextmanager
def torchserve(
    name: str,
    task: Task,
    understood: tuple[Callable[[bytes], str], Sequence[str]],
    pack: Callable[[Path], None],
    configuration: Configuration,
) -> Iterator[System]:
    """One that serves what ``pack`` writes into an archive, warmed up.

    Args:
        name: for the tables.
        task: what it is asked.
        understood: a system's ``label`` and ``labels``.
        pack: given where the archive is to be.
        configuration: of the server.
    """
    with TemporaryDirectory(prefix="falconet-") as temporary:
        packed = Path(temporary, "store", f"{task.name}.mar")
        pack(packed)
        server = Server.start([packed], Path(temporary, "state"), configuration)
        try:
            server.wait_loaded(READY_SECONDS)
            path = f"/predictions/{task.name}"
            requests = [post(path, image, "image/jpeg") for image in task.images]
            target = Target(server.ports.inference, requests)
            processes = partial(processes_of, server.temporary)
            system = System(name, target, *understood, processes, server)
            warm_up(system)
            yield system
        finally:
            server.stop()
