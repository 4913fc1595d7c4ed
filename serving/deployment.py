"""Steps of replacing a model while it is asked: start, try, switch, drain, and only then take away.

TorchServe kills workers at once when a version is unregistered, so the old one goes last, when it
has nothing left to answer. What is done is written down before and after each step
(:mod:`.record`); whoever comes next finishes or undoes what was left half done.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from .client import Client
from .drain import POLL_SECONDS, Drain
from .errors import ServerError
from .package import Package
from .processes import yield_to_others
from .record import Record, Release
from .server import Server
from .smoke import answered, smoke_test
from .split import Split
from .store import prune, put

START_SECONDS = 180.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Deployment:
    """Changes of one model of a running server; see :mod:`.rollout` for their order.

    Args:
        server: that runs.
        model: its name there.
        say: is told each step.
    """

    server: Server
    model: str
    say: Say = lambda _: None

    def record(self) -> Record:
        """What is written down of the model.

        Raises:
            ServerError: there is no such model.
        """
        records = Record.load(self.server.folder)
        if self.model not in records:
            raise ServerError(
                f"no model {self.model} runs here, but {', '.join(records)}; a model's name is "
                "that of the archive when it is made: falconet archive --output MODEL.mar"
            )
        return records[self.model]

    def recover(self) -> Record:
        """Finish or undo what was interrupted, and say what serves."""
        record = self.record()
        if record.coming is not None:
            default = self._client.describe(self.model)["modelVersion"]
            if record.coming.same_version(default):
                self.say(f"finishing what was interrupted: {record.coming.version} serves already")
                self.switch()
                self.drain()
            else:
                self.say(f"undoing what was interrupted: {record.coming.version}")
                self.undo()
        elif record.leaving is not None:
            self.say(f"finishing what was interrupted: {record.leaving.version} leaves")
            self.drain()
        return self.record()

    def prepare(
        self,
        release: Release,
        package: Package,
        archive: Path,
        purpose: Literal["deploy", "rollback"],
    ) -> None:
        """Start a release beside the one that serves, and try it.

        Raises:
            ServerError: it does not start, or does not answer as recorded; it is to be undone then.
        """
        if any(release.same_version(each) for each in self._versions()):
            raise ServerError(
                f"{self.model}: another archive serves as version {release.version}; give this "
                "one its own: falconet archive --version"
            )
        self._note(replace(self.record(), coming=release, purpose=purpose))
        if archive.parent != self.server.store:
            put(archive, release, self.server.store)
        self._start(release, package)

    def _start(self, release: Release, package: Package) -> None:
        workers = max(1, len(self._client.describe(self.model)["workers"]))
        deaths = self.server.deaths(self.model, release.version)
        self._client.register(release.file, self.model, workers)
        self.say(f"{release.version} starts with {workers} workers")
        deadline = time.monotonic() + START_SECONDS
        while not self._patiently(
            lambda: self._client.workers_ready(self.model, release.version), deadline
        ):
            if self.server.deaths(self.model, release.version) > deaths:
                raise ServerError(
                    f"{self.model} {release.version}: a worker died while it loaded the model; "
                    f"see {self.server.folder / 'logs' / 'model_log.log'}"
                )
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{self.model} {release.version}: its workers were not ready after "
                    f"{START_SECONDS:.0f} seconds"
                )
            time.sleep(POLL_SECONDS)
        smoke_test(self._client, package)
        self.say(f"{release.version} is ready, and {answered(package)}")

    def share(self, percent: int) -> None:
        """Have the gateway give the coming version so many percent of the requests.

        Raises:
            ServerError: no gateway runs, or it does not follow.
        """
        self._note(replace(self.record(), percent=percent))
        split = self.record().split
        split.await_gateway(self.server.gateway)
        if percent:
            self.say(f"{split.version} gets {percent} % of the requests")

    def switch(self) -> None:
        """The coming version answers from now on, and the old one is to leave."""
        record = self.record()
        assert record.coming is not None
        self._client.set_default(self.model, record.coming.version)
        self._note(record.switched())
        self.say(f"{record.coming.version} serves")

    def take_back(self, before: Record) -> None:
        """Have what served before a switch serve again, whether or not the switch was done."""
        assert before.coming is not None
        self._client.set_default(self.model, before.serving.version)
        self._note(before)
        self._answer_all(before.coming.version)
        self.undo()

    def drain(self) -> None:
        """Take the leaving version away once it has nothing to answer."""
        record = self.record()
        assert record.leaving is not None
        version = self._registered(record.leaving)
        if version is not None:
            left = self._answer_all(version)
            self._unregister(version)
            self.say(f"{version} is gone{left or ', and has answered all it had'}")
        self._note(replace(record, leaving=None))
        prune(self.server.folder)

    def undo(self) -> None:
        """Leave nothing of the coming version, if there is one."""
        record = self.record()
        if record.coming is None:
            return
        version = self._registered(record.coming)
        if record.percent:
            self._note(replace(record, percent=0))
            # Where the gateway has ended, nothing comes any more.
            with contextlib.suppress(ServerError):
                Split().await_gateway(self.server.gateway)
            if version is not None:
                self._answer_all(version)
        if version is not None:
            self._unregister(version)
        self._note(replace(record, coming=None, percent=0))
        prune(self.server.folder)
        self.say(f"{record.serving.version} serves as before")

    def _unregister(self, version: str) -> None:
        """Have TorchServe kill a version's workers and forget it."""
        for worker in self._client.describe(self.model, version)["workers"]:
            yield_to_others(worker["pid"])
        self._client.unregister(self.model, version)

    def try_to(self, undo: Callable[[], None]) -> None:
        """After something went wrong, which is what is to be told: undo it, if that can be."""
        try:
            undo()
        except ServerError as error:
            self.say(f"not undone yet, as the server does not answer: {error}")

    def _answer_all(self, version: str) -> str:
        """Wait until a version has nothing in hand, and say what is missing in that."""
        drain = Drain(self._client, self.model, version)
        while not drain.over():
            time.sleep(POLL_SECONDS)
        if drain.abandoned is None:
            return ""
        return f"; nothing was heard for {drain.abandoned:.0f} s of what it had"

    def _patiently(self, ask: Callable[[], bool], deadline: float) -> bool:
        """An answer, of a server whose cores are busy with starting workers."""
        try:
            return ask()
        except ServerError:
            if time.monotonic() > deadline or not self.server.running():
                raise
            return False

    def _note(self, record: Record) -> None:
        record.save(self.server.folder, self.model)

    @property
    def _client(self) -> Client:
        return self.server.client

    def _registered(self, release: Release) -> str | None:
        """What the server calls a release, if it has it."""
        return next((each for each in self._versions() if release.same_version(each)), None)

    def _versions(self) -> list[str]:
        return [each["modelVersion"] for each in self._client.versions(self.model)]
