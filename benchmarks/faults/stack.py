"""The real server, and the command `falconet gateway` in front of it, as others reach it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from falconet.handler import ENTRY
from falconet.model.archive import archive
from falconet.serving import gateway_process
from falconet.serving.configuration import Configuration
from falconet.serving.ports import free_ports
from falconet.serving.processes import processes_of
from falconet.serving.server import Server

from ..load_generator.encode import post
from ..load_generator.load import Target
from ..system import READY_SECONDS, System, predictions_label, shipped, warm_up
from ..task import Task, cifar
from ..usage import usage
from .floods import ALSO

# As many clients as it takes that none of them alone asks for more than a gateway grants it.
KEYS = tuple(f"client-{i}" for i in range(32))
HOSTILE_KEY = "hostile"
POLL_SECONDS = 0.05


@dataclass
class Stack:
    """A server, a gateway, and what is known of both.

    Attributes:
        task: what is served.
        archive: the server's first.
        configuration: of the server.
        server: the one that runs; another after :meth:`restart`.
        port: of the gateway.
        served: the gateway as a system to be asked, under many keys.
    """

    task: Task
    archive: Path
    configuration: Configuration
    server: Server
    port: int
    served: System

    @classmethod
    @contextmanager
    def run(cls, task: Task, folder: Path) -> Iterator["Stack"]:
        """Start both on free ports, and stop both at the end."""
        first = folder / "store" / f"{task.name}.mar"
        archive(task.folder, first, handler=ENTRY, allow=ALSO)
        keys = folder / "keys"
        keys.write_text("".join(f"{key} {key}\n" for key in (*KEYS, HOSTILE_KEY)))
        configuration = shipped()
        server = Server.start([first], folder / "state", configuration)
        (port,) = free_ports(1)
        try:
            server.wait_loaded(READY_SECONDS)
            options = f"--no-tls --port {port} --notice-seconds 0 --gateway-metrics-port 0"
            _falconet(
                *("gateway", "--api-keys", keys, *options.split()),
                *("--background", "--state", server.folder),
            )
        except BaseException:
            server.stop()
            raise
        requests = [
            post("/predict", image, "image/jpeg", KEYS[i % len(KEYS)])
            for i, image in enumerate(task.images)
        ]
        target = Target(port, requests)
        served = System("gateway", target, predictions_label, task.served, list)
        stack = cls(task, first, configuration, server, port, served)
        try:
            yield stack
        finally:
            _falconet("gateway", "stop", "--state", server.folder)
            stack.server.stop()

    @classmethod
    @contextmanager
    def of_cifar(cls) -> Iterator["Stack"]:
        """Both with the shipped model, warmed up."""
        with (
            TemporaryDirectory(prefix="falconet-") as folder,
            cifar() as task,
            cls.run(task, Path(folder)) as stack,
        ):
            warm_up(stack.served)
            yield stack

    def release(self, version: str) -> Path:
        """An archive of the same model as another version."""
        made = self.archive.parent / version / self.archive.name
        archive(self.task.folder, made, handler=ENTRY, version=version, allow=ALSO)
        return made

    def restart(self) -> None:
        """Start the server again after it has died, as a supervisor would."""
        self.server = Server.start([self.archive], self.server.folder, self.configuration)

    def java(self) -> psutil.Process:
        (java,) = (each for each in processes_of(self.server.temporary) if "java" in each.name())
        return java

    def workers(self) -> list[psutil.Process]:
        """Those that serve, as TorchServe knows them."""
        described = self.server.client.describe(self.task.name)
        return [psutil.Process(worker["pid"]) for worker in described["workers"]]

    def pids(self) -> set[int]:
        return {worker.pid for worker in self.workers()}

    def gateway_command(self) -> psutil.Process:
        holder = gateway_process.find(self.server.gateway)
        assert holder is not None, "the gateway has ended"
        return psutil.Process(holder.process)

    def nginx_cpu_seconds(self) -> float:
        """That nginx has taken so far."""
        return usage(self.gateway_command().children(recursive=True)).seconds

    def memory(self) -> dict[str, int]:
        """Bytes that are theirs alone, of Java, the workers, nginx and its command."""
        command = self.gateway_command()
        return {
            "java": usage([self.java()]).memory,
            "workers": usage(self.workers()).memory,
            "nginx": usage(command.children(recursive=True)).memory,
            "falconet gateway": usage([command]).memory,
        }

    def wait_replaced(self, pid: int, timeout: float) -> float:
        """Seconds until all workers are ready and none of them is the one that was killed.

        Raises:
            TimeoutError: they are not.
        """
        began = time.perf_counter()
        while True:
            described = self.server.client.describe(self.task.name)
            pids = {worker["pid"] for worker in described["workers"]}
            ready = {worker["status"] for worker in described["workers"]} == {"READY"}
            if ready and pid not in pids:
                return time.perf_counter() - began
            if time.perf_counter() - began > timeout:
                raise TimeoutError(f"worker {pid} was not replaced after {timeout:.0f} s")
            time.sleep(POLL_SECONDS)


def _falconet(*arguments: object) -> None:
    """Run a command.

    Raises:
        RuntimeError: it fails; with what it said.
    """
    command = [sys.executable, "-m", "falconet.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
