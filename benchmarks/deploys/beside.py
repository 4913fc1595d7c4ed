"""Two models on one server, of which one is deployed to again and again."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from falconet.handler import ENTRY
from falconet.model.archive import archive
from falconet.serving.configuration import Configuration
from falconet.serving.processes import processes_of
from falconet.serving.profile import Profile
from falconet.serving.server import Server

from ..load_generator.encode import post
from ..load_generator.load import Target
from ..system import READY_SECONDS, System, predictions_label, warm_up
from ..task import Task

OTHER = "other"


@contextmanager
def both(task: Task) -> Iterator[tuple[System, System]]:
    """The task's model under its name and another, sharing the cores as by `falconet serve`."""
    with TemporaryDirectory(prefix="falconet-") as temporary:
        names = (task.name, OTHER)
        archives = [Path(temporary, f"{name}.mar") for name in names]
        for each in archives:
            archive(task.folder, each, handler=ENTRY)
        configuration = Configuration.load(inference=0, management=0, metrics=0)
        profile = Profile.of_machine("small")
        server = Server.start(archives, Path(temporary, "state"), configuration, profile)
        try:
            server.wait_loaded(READY_SECONDS)
            first, second = (_system(task, name, server) for name in names)
            for system in (first, second):
                warm_up(system)
            yield first, second
        finally:
            server.stop()


def _system(task: Task, name: str, server: Server) -> System:
    requests = [post(f"/predictions/{name}", each, "image/jpeg") for each in task.images]
    target = Target(server.ports.inference, requests)
    processes = partial(processes_of, server.temporary)
    return System(name, target, predictions_label, task.served, processes, server)
