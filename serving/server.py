"""Starting, watching and stopping one TorchServe."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from .client import Client, model_name
from .configuration import Configuration
from .drain import Drain
from .errors import ServerError
from .java import find_java
from .logs import Logs
from .ports import Ports
from .processes import MARK, belongs, has_java, processes_of, stop_processes
from .store import FOLDER as STORE
from .store import files_to_serve

STATE = "server.json"
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Server:
    """A TorchServe with one archive, and the folder that remembers it.

    The folder holds ``server.json`` while the server runs, its ``config.properties``, and
    ``logs/``.

    Attributes:
        folder: of the state.
        model: the name it is served under.
        ports: where it listens.
        pid: of the process that waits for Java.
        temporary: a folder for sockets and unpacked archives, which also marks the server's
            processes; gone after :meth:`stop`.
        child: the process, where this one started it and so has to collect it.
    """

    folder: Path
    model: str
    ports: Ports
    pid: int
    temporary: Path
    child: "subprocess.Popen[bytes] | None" = field(default=None, compare=False, repr=False)

    @classmethod
    def start(cls, archive: Path, folder: Path, configuration: Configuration) -> "Server":
        """Start TorchServe with an archive; :meth:`wait_ready` tells when it serves.

        What a server that was killed has left here is stopped and removed first. Started again
        with the same archive, a server serves what has been deployed since (``models.json`` in the
        folder says what); another archive begins anew.

        Raises:
            ServerError: no archive, no Java, a port is taken, a server runs here already, or what
                was deployed is gone.
        """
        if not archive.is_file():
            raise ServerError(f"no archive at {archive}; make one with: falconet archive")
        last = cls._last(folder)
        if last is not None and last.serving():
            raise ServerError(
                f"a server runs here already (process {last.pid}); stop it with: falconet stop"
            )
        java_home = find_java()
        if last is not None:
            # Workers whose server was killed have nobody to answer; what they unpacked goes too.
            stop_processes(last.temporary, patience=0)
            last.stop()
        configuration.ports.check()
        folder.mkdir(parents=True, exist_ok=True)
        models = files_to_serve(folder, archive)
        logs = folder / "logs"
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir()
        config = configuration.write(folder)
        logging = configuration.logging
        # TorchServe puts Unix sockets here, and their paths may be 107 bytes long at most.
        temporary = Path(tempfile.mkdtemp(prefix="falconet-"))
        environment = {
            **os.environ,
            **configuration.environment,
            MARK: str(temporary),
            "JAVA_HOME": str(java_home),
            "LOG_LOCATION": str(logs.resolve()),
            "METRICS_LOCATION": str(logs.resolve()),
            "TEMP": str(temporary),
            "TMPDIR": str(temporary),
        }
        environment.pop("TS_CONFIG_FILE", None)  # TorchServe would prefer it to --ts-config
        with (logs / "console.log").open("wb") as console:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "falconet.serving.torchserve"),
                    *("--start", "--foreground", "--ncs"),
                    *("--ts-config", str(config.resolve())),
                    *(("--log-config", str(logging.resolve())) if logging else ()),
                    *("--model-store", str((folder / STORE).resolve())),
                    *("--models", *(f"{model}={file}" for model, file in models.items())),
                ],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is for us: we stop the server in order.
                start_new_session=True,
            )
        server = cls(
            folder=folder,
            model=model_name(archive),
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
        except FileNotFoundError:
            return None
        return cls(
            folder=folder,
            model=state["model"],
            ports=Ports(**state["ports"]),
            pid=state["pid"],
            temporary=Path(state["temporary"]),
        )

    def _save(self) -> None:
        state = {
            "model": self.model,
            "ports": asdict(self.ports),
            "pid": self.pid,
            "temporary": str(self.temporary),
        }
        partial = self.folder / f"{STATE}.partial"
        partial.write_text(json.dumps(state, indent=2) + "\n")
        partial.replace(self.folder / STATE)

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
        return self.folder / "gateway"

    @property
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

    def ready(self, picture: bytes) -> bool:
        """Whether every worker of the default version has loaded the model, and one answers."""
        try:
            return (
                self.client.workers_ready(self.model)
                and self.client.predict(self.model, picture)["success"] is True
            )
        except ServerError:
            return False

    def wait_ready(self, picture: bytes, timeout: float = 120.0) -> None:
        """Return when every worker has loaded the model and a picture has been answered.

        ``/ping`` says healthy before either.

        Args:
            picture: any picture that the model should answer.
            timeout: seconds.

        Raises:
            ServerError: the server or a worker died, it refuses the picture, or time is up; with
                what its log says about it.
        """
        self.wait_loaded(timeout)
        answer = self.client.predict(self.model, picture)
        if not answer["success"]:
            raise ServerError(f"the workers are there, but a test picture was answered: {answer}")

    def wait_loaded(self, timeout: float = 120.0) -> None:
        """Return when every worker has loaded the model, whatever its handler.

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
                if self.client.workers_ready(self.model):
                    return
                waiting_for = "the workers to load the model"
            except ServerError as error:
                waiting_for = str(error)
            if time.monotonic() > deadline:
                raise ServerError(
                    f"not ready after {timeout:.0f} seconds, waiting for: {waiting_for}\n"
                    f"{self.logs.tail('ts_log.log')}"
                )
            time.sleep(POLL_SECONDS)

    def deaths(self, model: str, version: str) -> int:
        """See :meth:`.Logs.deaths`."""
        return self.logs.deaths(model, version)

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
                    drains = [each for each in drains if not each.over()]
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
