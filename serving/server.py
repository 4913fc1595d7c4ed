"""Starting, watching and stopping one TorchServe."""

import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import psutil

from falconet.client import ResponseError
from falconet.model.archive import archive_workers
from falconet.native import available_cores

from . import json_file
from .client import Client
from .configuration import FILE_NAME as CONFIG
from .configuration import Configuration
from .drain import Drain
from .errors import ServerError
from .java import find_java
from .launch import launch
from .logs import Logs
from .memory import Need, check_fits, most_workers
from .ports import Ports
from .processes import belongs, has_java, processes_of, stop_processes
from .profile import Profile, share
from .record import Record, lock_models, write
from .store import FOLDER as STORE
from .store import archives_to_serve, by_model_name, prune

STATE = "server.json"
GATEWAY = "gateway"
POLL_SECONDS = 0.25
LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Server:
    """A TorchServe with one model or several, and the folder that remembers it.

    The folder holds ``server.json`` while the server runs, its ``config.properties``, and
    ``logs/``; and ``models.json``, which says what it serves.

    Attributes:
        folder: of the state.
        workers: that its models share, where neither an archive nor ``config.properties`` says how
            many a model has; 0 where that does.
        ports: where it listens.
        pid: of the process that waits for Java.
        temporary: a folder for sockets and unpacked archives, which also marks the server's
            processes; gone after :meth:`stop`.
        child: the process, where this one started it and so has to collect it.
    """

    folder: Path
    workers: int
    ports: Ports
    pid: int
    temporary: Path
    child: "subprocess.Popen[bytes] | None" = field(default=None, compare=False, repr=False)

    @classmethod
    def start(
        cls,
        archives: Sequence[Path],
        folder: Path,
        configuration: Configuration,
        profile: Profile | None = None,
    ) -> "Server":
        """Start TorchServe with archives; :meth:`wait_ready` tells when it serves.

        What a server that was killed has left here is stopped and removed first. Started again
        with the same archives, a server serves what its record says, with all that has been
        deployed since; other archives begin anew.

        Args:
            archives: of a model each.
            folder: of the state.
            configuration: of TorchServe.
            profile: what the models share, as far as the configuration leaves it open.

        Raises:
            ServerError: no archive, one whose file has not its model's name, two of one model, no
                Java, too little memory, a port is taken, a server runs here already, another
                command is changing the models, or what was deployed is gone.
        """
        by_model_name(archives)  # checks them
        java_home = find_java()
        folder.mkdir(parents=True, exist_ok=True)
        # A deploy to a server that was killed notices that only after a while.
        with lock_models(folder, LOCK_SECONDS):
            last = cls._last(folder)
            if last is not None and last.serving():
                raise ServerError(
                    f"a server already runs with this --state (process {last.pid}); stop it with: "
                    "falconet stop"
                )
            if last is not None:
                # Workers whose server was killed have nobody to answer; what they unpacked goes
                # too.
                stop_processes(last.temporary, patience=0)
                last.stop()
            configuration.ports.check()
            content = archives_to_serve(folder, archives)
            models = {
                name: folder / STORE / record.serving.file
                for name, record in content.models.items()
            }
            workers = 0
            if profile is not None:
                if configuration.workers is None:
                    most = len(models) * most_workers(models, profile.heap << 20)
                    profile = profile.at_most(most)
                    workers = profile.workers
                configuration = configuration.fit(profile.among(len(models)))
            usual = configuration.workers or available_cores()
            check_fits(
                [
                    Need(name, content.models[name].workers or archive_workers(file) or usual, file)
                    for name, file in models.items()
                ],
                configuration.heap,
            )
            write(folder, *content)
            prune(folder)
            return cls._launch(models, folder, configuration, workers, java_home)

    @classmethod
    def _launch(
        cls,
        models: Mapping[str, Path],
        folder: Path,
        configuration: Configuration,
        workers: int,
        java_home: Path,
    ) -> "Server":
        process, temporary = launch(models, folder, configuration, java_home)
        server = cls(
            folder=folder,
            workers=workers,
            ports=configuration.ports,
            pid=process.pid,
            temporary=temporary,
            child=process,
        )
        try:
            server._save()
        except BaseException:
            server.stop()
            raise
        return server

    @classmethod
    def find(cls, folder: Path) -> "Server | None":
        """The server of this folder, if any of its processes runs."""
        server = cls._last(folder)
        return server if server is not None and processes_of(server.temporary) else None

    @classmethod
    def _last(cls, folder: Path) -> "Server | None":
        """The one that was started here last and has not been stopped, whether or not it runs."""
        try:
            state = json.loads((folder / STATE).read_text())
        except (FileNotFoundError, ValueError):  # none, or cut off by a power loss
            return None
        return cls(
            folder=folder,
            workers=state.get("workers", 0),  # not of a server that one model only could run on
            ports=Ports(**state["ports"]),
            pid=state["pid"],
            temporary=Path(state["temporary"]),
        )

    def _save(self) -> None:
        state = {
            "workers": self.workers,
            "ports": asdict(self.ports),
            "pid": self.pid,
            "temporary": str(self.temporary),
        }
        json_file.write(self.folder / STATE, state)

    @property
    def models(self) -> list[str]:
        """The names of those that it serves, in the order in which they came."""
        records = Record.load(self.folder)
        return [model for model, record in records.items() if record.admitted]

    def named(self, model: str | None) -> str:
        """The model that is meant: the only one, where no name is given.

        Raises:
            ServerError: there are several then, or none of that name; says which there are.
        """
        models = self.models
        if model is None and len(models) != 1:
            raise ServerError(f"expected the name of a model, as several run: {', '.join(models)}")
        if model is not None and model not in models:
            raise ServerError(f"no model {model} on this server; it has {', '.join(models)}")
        return model or models[0]

    def workers_per_model(self, models: int) -> int:
        """How many each of so many models gets whose archives do not say."""
        if self.workers:
            return share(self.workers, models)
        return Configuration.load(self.folder / CONFIG).workers or available_cores()

    @property
    def store(self) -> Path:
        """The folder that archives are registered from, under names that hold their checksums."""
        return self.folder / STORE

    @property
    def logs(self) -> Logs:
        return Logs(self.folder / "logs")

    @property
    def gateway(self) -> Path:
        """The folder of the gateway before it."""
        return self.folder / GATEWAY

    @cached_property
    def client(self) -> Client:
        url = self.ports.url
        return Client(url("inference"), url("management"), url("metrics"))

    def running(self) -> bool:
        """Whether TorchServe still runs, or has ended by itself."""
        if self.child is not None:
            # The kernel shows no environment, and so no mark, in the moment of its start.
            return self.child.poll() is None
        try:
            return belongs(psutil.Process(self.pid), self.temporary)
        except psutil.NoSuchProcess:
            return False

    def serving(self) -> bool:
        """Whether there is more of it than workers, which end by themselves sooner or later."""
        return self.running() or has_java(self.temporary)

    def wait_ready(self, image: bytes, timeout: float = 120.0) -> None:
        """Return when every worker has loaded its model and an image was answered for each.

        ``/ping`` says healthy before either.

        Args:
            image: any image that all models should answer.
            timeout: seconds.

        Raises:
            ServerError: the server or a worker died, it refuses the image, or time is up; with
                what its log says about it.
        """
        self.wait_loaded(timeout)
        for model in self.models:
            try:
                self.client.predict(model, image)
            except ResponseError as error:
                raise ServerError(
                    f"the workers of {model} are ready, but the response to a test image has "
                    f"{error}"
                ) from error

    def wait_loaded(self, timeout: float = 120.0) -> None:
        """Return when every worker has loaded its model, whatever its handler.

        Raises:
            ServerError: the server or a worker died, or time is up; with what its log says about
                it.
        """
        deadline = time.monotonic() + timeout
        while True:
            if not self.running():
                raise ServerError(f"TorchServe has ended:\n{self.logs.tail('console.log')}")
            if (words := self.logs.last_words()) is not None:
                raise ServerError(f"a worker died while it loaded the model:\n{words}")
            try:
                waiting = [each for each in self.models if not self.client.workers_ready(each)]
                if not waiting:
                    self._scale_again(deadline - time.monotonic())
                    return
                waiting_for = f"the workers to load {', '.join(waiting)}"
            except ServerError as error:
                waiting_for = str(error)
            if time.monotonic() > deadline:
                raise ServerError(
                    f"not ready after {timeout:.0f} seconds, waiting for: {waiting_for}\n"
                    f"{self.logs.tail('ts_log.log')}"
                )
            time.sleep(POLL_SECONDS)

    def _scale_again(self, timeout: float) -> None:
        """Give each model as many workers as it has been scaled to."""
        for model, record in Record.load(self.folder).items():
            if record.workers and record.admitted:
                self._scale_to(model, record.workers, timeout)

    def scale(self, model: str, workers: int, timeout: float = 180.0) -> None:
        """Have a model run with so many workers, also when the server is started again.

        Only for one who may change its models, see :func:`.alone`.

        Raises:
            ServerError: it does not within so many seconds.
        """
        record = Record.load(self.folder)[model]
        replace(record, workers=workers).save(self.folder, model)
        self._scale_to(model, workers, timeout)

    def _scale_to(self, model: str, workers: int, timeout: float) -> None:
        self.client.scale(model, workers)
        deadline = time.monotonic() + timeout
        while not (
            len(self.client.describe(model)["workers"]) == workers
            and self.client.workers_ready(model)
        ):
            if time.monotonic() > deadline:
                raise ServerError(f"{model}: not {workers} workers after {timeout:.0f} s")
            time.sleep(POLL_SECONDS)

    def drain(self, timeout: float) -> bool:
        """Wait until all versions of all models have answered what they were given.

        Args:
            timeout: seconds after which it is given up.

        Returns:
            whether they have.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.running():
            try:
                drains = [
                    Drain(self.client, model, each["modelVersion"])
                    for model in self.client.models()
                    for each in self.client.versions(model)
                ]
                while time.monotonic() < deadline:
                    drains = [each for each in drains if not each.finished()]
                    if not drains:
                        return True
                    time.sleep(POLL_SECONDS)
            except ServerError:  # busy, or a version has just gone
                time.sleep(POLL_SECONDS)
        return False

    def stop(self) -> None:
        """Stop the server and everything it started, and wait until all of it is gone."""
        stop_processes(self.temporary)
        if self.child is not None:
            self.child.wait()
        shutil.rmtree(self.temporary, ignore_errors=True)
        (self.folder / STATE).unlink(missing_ok=True)
