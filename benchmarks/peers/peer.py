"""Other servers, each in an environment of its own, with the same model and images."""

import os
import site
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from falconet.serving.ports import free_ports
from falconet.serving.processes import MARK, processes_of, stop_processes

from ..load_generator.encode import multipart, open_inference, post
from ..load_generator.load import Target, closed_loop
from ..system import (
    INSTALLED,
    PEERS,
    READY_SECONDS,
    System,
    output_label,
    predictions_label,
    warm_up,
)
from ..task import Task


@dataclass(frozen=True)
class Peer:
    """How a server is installed and started.

    Attributes:
        name: for the tables.
        packages: for pip.
        command: of the environment's ``bin``; ``{port}`` is replaced.
        path: where it predicts.
        encode: makes a request of the path, an image and its type; raw where the server lets us.
        label: as in :class:`System`.
        environment: more variables; ``{port}``, and the free ``{second}`` and ``{third}`` as well.
    """

    name: str
    packages: Sequence[str]
    command: Sequence[str]
    path: str = "/predict"
    encode: Callable[[str, bytes, str], bytes] = post
    label: Callable[[bytes], str] = predictions_label
    environment: Sequence[tuple[str, str]] = ()


ALL = {
    "flask": Peer(
        "Flask, gunicorn",
        ["flask==3.1.*", "gunicorn"],
        ["gunicorn", "--workers=2", "--preload", "--keep-alive=60", "--bind=127.0.0.1:{port}",
         "--log-level=warning", "--worker-class=gthread", "--threads=8", "flask_app:app"],
    ),
    "fastapi": Peer(
        "FastAPI, uvicorn",
        ["fastapi", "uvicorn[standard]"],
        ["uvicorn", "--workers=2", "--port={port}", "--log-level=warning", "fastapi_app:app"],
    ),
    "litserve": Peer(
        "LitServe, batches",
        ["litserve==0.2.*", "python-multipart"],
        ["python", "litserve_app.py", "{port}"],
        encode=multipart,
    ),
    "bentoml": Peer(
        "BentoML",
        ["bentoml==1.4.*"],
        ["bentoml", "serve", "--port={port}", "--host=127.0.0.1", "bentoml_app:Api"],
        environment=[("BENTOML_DO_NOT_TRACK", "1")],
    ),
    "ray": Peer(
        "Ray Serve, batches",
        ["ray[serve]==2.*"],
        ["python", "ray_app.py", "{port}"],
        environment=[("RAY_USAGE_STATS_ENABLED", "0")],
    ),
    "mlserver": Peer(
        "MLServer, batches",
        ["mlserver==1.7.*", "uvloop<0.22"],
        ["mlserver", "start", "mlserver"],
        path="/v2/models/images/infer",
        encode=open_inference,
        label=output_label,
        environment=[
            ("MLSERVER_HTTP_PORT", "{port}"),
            ("MLSERVER_GRPC_PORT", "{second}"),
            ("MLSERVER_METRICS_PORT", "{third}"),
        ],
    ),
}  # fmt: skip


def install(key: str) -> Path:
    """The environment's ``bin``, made if it is not there.

    It sees the packages of this one, torch among them, after its own.
    """
    folder = INSTALLED / key
    done = folder / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        (own,) = folder.glob("lib/python*/site-packages")
        # With what is installed there for editing, Falconet itself.
        lines = [f"import site; site.addsitedir({each!r})" for each in site.getsitepackages()]
        (own / "shared.pth").write_text("\n".join(lines) + "\n")
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *ALL[key].packages], check=True)
        done.touch()
    return folder / "bin"


# Those that are measured with our int8 model as well.
IN_INT8 = ("fastapi", "litserve")


@contextmanager
def peer(key: str, task: Task, *, int8: bool = False) -> Iterator[System]:
    """A server that runs, with two workers of one thread each, warmed up.

    Args:
        key: of :data:`ALL`.
        task: what it is asked; by its float32 file, as the server's users would have it.
        int8: by our int8 model instead.
    """
    this = ALL[key]
    name = f"{this.name}, our int8 model" if int8 else this.name
    labels = task.served if int8 else task.float32
    programs = install(key)
    ports = dict(zip(("port", "second", "third"), free_ports(3), strict=True))
    requests = [this.encode(this.path, image, "image/jpeg") for image in task.images]
    target = Target(ports["port"], requests)
    command = [part.format(**ports) for part in this.command]
    with TemporaryDirectory(prefix="falconet-") as temporary:
        folder, log = Path(temporary), Path(temporary, "log")
        environment = {
            **os.environ,
            **{name: value.format(**ports) for name, value in this.environment},
            MARK: temporary,
            "MODEL_FOLDER": str(task.folder.resolve()),
            "OMP_NUM_THREADS": "1",
            "MODEL_PRECISION": "int8" if int8 else "float32",
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(PEERS),
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(programs / command[0]), *command[1:]],
                cwd=PEERS,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait(target, process, log)
            processes = partial(processes_of, folder)
            system = System(name, target, this.label, labels, processes)
            warm_up(system)
            yield system
        finally:
            stop_processes(folder)
            process.wait()


def _wait(target: Target, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until it has answered an image."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            answers = closed_loop(target, 1, 0.01)
            if answers and answers[0].status == 200:
                return
        except OSError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.5)
    raise RuntimeError(f"{process.args} did not get ready:\n{log.read_text()[-3000:]}")
