"""The real server with nginx in front, as others reach it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from falconet.handler import ENTRY
from falconet.model.archive import archive
from falconet.serving.configuration import Configuration
from falconet.serving.gateway import Gateway
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
        gateway: in front of it.
        served: the gateway as a system to be asked, under many keys.
    """

    task: Task
    archive: Path
    configuration: Configuration
    server: Server
    gateway: Gateway
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
        try:
            server.wait_loaded(READY_SECONDS)
            (port,) = free_ports(1)
            gateway = Gateway.start(
                folder / "gateway", server.ports.inference, [task.name], keys, port=port
            )
        except BaseException:
            server.stop()
            raise
        requests = [
            post("/predict", picture, "image/jpeg", KEYS[i % len(KEYS)])
            for i, picture in enumerate(task.pictures)
        ]
        target = Target(port, requests)
        served = System("gateway", target, predictions_label, task.served, list)
        stack = cls(task, first, configuration, server, gateway, served)
        try:
            yield stack
        finally:
            gateway.stop()
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

    def memory(self) -> dict[str, int]:
        """Bytes that are theirs alone, of Java, of all workers, and of nginx."""
        front = psutil.Process(self.gateway.child.pid)
        return {
            "java": usage([self.java()]).memory,
            "workers": usage(self.workers()).memory,
            "gateway": usage([front, *front.children()]).memory,
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
