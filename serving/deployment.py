"""Steps of replacing a model while it is asked: start, try, switch, drain, and only then take away.

Those of adding one, or of taking one from a server, are the same as far as there are others.

TorchServe kills workers at once when a version is unregistered, so the old one goes last, when it
has nothing left to answer. What is done is written down before and after each step
(:mod:`.record`); whoever comes next finishes or undoes what was left half done.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Literal

from falconet.model.archive import stated_workers

from .client import Client
from .drain import POLL_SECONDS, Drain
from .errors import ServerError
from .lease import SECONDS as LEASE_SECONDS
from .lease import Lease
from .memory import Need, check_fits
from .package import Package
from .processes import yield_to_others
from .record import Record, Release
from .routes import FOLLOW_SECONDS, Routes, await_gateway
from .server import Server
from .smoke import answered, smoke_test
from .split import Split
from .store import prune, put

START_SECONDS = 180.0
# How long a model that is to go may still be asked, by those who do so past the gateway.
ASKED_SECONDS = 60.0
# How long a version that is to go may need: a full queue of a slow model, or clients that name it.
DRAIN_SECONDS = 600.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Deployment:
    """Changes of one model of a running server; see :mod:`.rollout` for their order.

    Args:
        server: that runs.
        model: its name there.
        say: is told each step.
        interrupted: has whatever waits give up, with an error.
    """

    server: Server
    model: str
    say: Say = lambda _: None
    interrupted: Event = field(default_factory=Event, compare=False, repr=False)

    def record(self) -> Record:
        """What is written down of the model.

        Raises:
            ServerError: there is no such model.
        """
        record = self.found()
        if record is None:
            raise ServerError(
                f"no model {self.model} runs here, but {', '.join(self.server.models)}"
            )
        return record

    def found(self) -> Record | None:
        """Likewise; ``None`` if there is no such model."""
        return Record.load(self.server.folder).get(self.model)

    def recover(self) -> Record | None:
        """Finish or undo what was interrupted, and say what serves."""
        record = self.found()
        if record is None:
            return None
        if not record.admitted:
            added = record.purpose == "add"
            self.say(f"{'undoing' if added else 'finishing'} what was interrupted: {self.model}")
            self.undo() if added else self.leave()
        elif record.coming is not None:
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
        return self.found()

    def prepare(
        self,
        release: Release,
        package: Package,
        archive: Path,
        purpose: Literal["deploy", "rollback"],
    ) -> None:
        """Start a release beside what serves, and try it.

        Raises:
            ServerError: there is no memory for it, it does not start, or does not answer as
                recorded; it is to be undone then.
        """
        if any(release.same_version(each) for each in self._versions()):
            raise ServerError(
                f"{self.model}: another archive serves as version {release.version}; give this "
                "one its own: falconet archive --version"
            )
        record = self.found()
        workers = stated_workers(archive) or self._workers()
        check_fits([Need(self.model, workers, archive)])
        if record is None:
            self.say(f"{self.model} is added to {', '.join(self.server.models)}")
            self._note(Record(serving=release, purpose="add"))
        else:
            self._note(replace(record, coming=release, purpose=purpose))
        if archive.parent != self.server.store:
            put(archive, release, self.server.store)
        self._start(release, package, workers)

    def _workers(self) -> int:
        """As many as the model has; of one that is added, what one of so many models gets."""
        if self.found() is None:
            return self.server.workers_among(len(self.server.models) + 1)
        return max(1, len(self._client.describe(self.model)["workers"]))

    def _start(self, release: Release, package: Package, workers: int) -> None:
        with self.server.logs.deaths() as deaths:
            self._client.register(release.file, self.model, workers)
            self.say(f"starting version {release.version} (workers: {workers})")
            deadline = time.monotonic() + START_SECONDS
            while not self._patiently(
                lambda: self._client.workers_ready(self.model, release.version), deadline
            ):
                if deaths.of(self.model, release.version):
                    raise ServerError(
                        f"{self.model} {release.version}: a worker died while it loaded the "
                        f"model; see {self.server.folder / 'logs' / 'model_log.log'}"
                    )
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"{self.model} {release.version}: its workers were not ready after "
                        f"{START_SECONDS:.0f} seconds"
                    )
                self._pause()
        smoke_test(self._client.inference, package)
        self.say(f"version {release.version} {answered(package)}")

    def share(self, percent: int) -> None:
        """Have the gateway give the coming version so many percent of the requests.

        For some seconds only; :meth:`renew` is to be called again and again.

        Raises:
            ServerError: no gateway runs, or it does not follow.
        """
        lease = Lease.for_now(FOLLOW_SECONDS + LEASE_SECONDS)
        record = replace(self.record(), percent=percent, lease=lease)
        self._note(record)
        await_gateway(self.server.gateway, self.model, record.split)
        self.renew()
        self.say(f"{record.split.version} gets {percent} % of the requests")

    def renew(self) -> None:
        """Have the share go on for some seconds more.

        Raises:
            ServerError: the server has ended.
        """
        if not self.server.running():
            raise ServerError(
                f"TorchServe has ended; see {self.server.folder / 'logs'}; start it again with: "
                "falconet serve"
            )
        self._note(replace(self.record(), lease=Lease.for_now()))

    def switch(self) -> None:
        """The coming version answers from now on, and the old one, if there is one, is to leave."""
        record = self.record()
        if not record.admitted:
            self._note(replace(record, purpose="deploy"))
            self.say(f"{self.model} {record.serving.version} serves")
            return
        assert record.coming is not None
        self._client.set_default(self.model, record.coming.version)
        # What was scaled stays so, unless the new archive says how many workers it has.
        stated = stated_workers(self.server.store / record.coming.file)
        self._note(replace(record.switched(), workers=0 if stated else record.workers))
        self.say(f"{record.coming.version} serves")

    def take_back(self, before: Record) -> None:
        """Have what served before a switch serve again, whether or not the switch was done."""
        if not before.admitted:
            self.leave()
            return
        assert before.coming is not None
        self._client.set_default(self.model, before.serving.version)
        self._note(before)
        self._answer_all(before.coming.version)
        self.undo()

    def drain(self) -> None:
        """Take the leaving version away once it has nothing to answer.

        Of a model that was added there is none; then the gateway, if one runs, has to know of it.

        Raises:
            ServerError: the server does not answer, or the gateway does not follow.
        """
        record = self.record()
        if record.leaving is None:
            try:
                self._await_gateway(record.split)
            except ServerError as error:
                raise ServerError(
                    f"{self.model} {record.serving.version} is deployed and serves, but the "
                    f"gateway does not pass on requests for it yet: {error}"
                ) from None
            return
        version = self._registered(record.leaving)
        if version is not None:
            left = self._answer_all(version)
            self._unregister(version)
            self.say(
                f"previous version {version} {left or 'finished its requests and was stopped'}"
            )
        self._note(replace(record, leaving=None))
        prune(self.server.folder)

    def undo(self) -> None:
        """Leave nothing of what comes: a version, or the model itself."""
        record = self.found()
        if record is None:
            return
        if not record.admitted:
            self._remove()
            return
        if record.coming is None:
            return
        version = self._registered(record.coming)
        if record.percent:
            self._note(replace(record, percent=0, lease=None))
            # Where the gateway has ended, nothing comes any more.
            with contextlib.suppress(ServerError):
                await_gateway(self.server.gateway, self.model, Split())
            if version is not None:
                self._answer_all(version)
        if version is not None:
            self._unregister(version)
        self._note(record.without_coming())
        prune(self.server.folder)
        self.say(f"{record.serving.version} serves as before")

    def leave(self) -> None:
        """Take the model away once it has nothing to answer; versions that come or leave go too.

        Raises:
            ServerError: it is asked all the time, past the gateway, or takes too long to answer, or
                the gateway does not follow. Then it serves as before.
        """
        record = self.record()
        self._note(replace(record, purpose="undeploy"))
        try:
            self._await_gateway(None)
            versions = self._client.versions(self.model)
            # What a worker that died had in hand is given up only after that.
            longest = max((each["responseTimeout"] for each in versions), default=0)
            deadline = time.monotonic() + ASKED_SECONDS + longest
            for each in versions:
                self._answer_all(each["modelVersion"], deadline)
        except BaseException:
            self._note(record)
            raise
        self._remove()

    def _remove(self) -> None:
        """Have TorchServe forget the model, the default version last, and keep nothing of it."""
        versions = self._versions()
        if versions:
            default = self._client.describe(self.model)["modelVersion"]
            for version in [*(each for each in versions if each != default), default]:
                self._unregister(version)
        Record.forget(self.server.folder, self.model)
        prune(self.server.folder)
        self.say(f"removed {self.model}")

    def _await_gateway(self, split: Split | None) -> None:
        if Routes.load(self.server.gateway) is not None:
            await_gateway(self.server.gateway, self.model, split)

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
            self.say(f"could not revert yet, the server does not respond: {error}")
        except OSError as error:  # a full disk; others of several servers are reverted all the same
            self.say(f"could not revert yet, repeat the command to do so: {error}")

    def _answer_all(self, version: str, deadline: float | None = None) -> str:
        """Wait until a version has nothing in hand; returns how it ends where that is not known.

        Raises:
            ServerError: it still has, at the deadline or after :data:`DRAIN_SECONDS`.
        """
        deadline = deadline or time.monotonic() + DRAIN_SECONDS
        drain = Drain(self._client, self.model, version)
        while not drain.over():
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{self.model} {version} still receives requests that bypass the gateway or "
                    "name this version, or has unfinished requests; stop those clients and repeat "
                    "the command"
                )
            self._pause()
        if drain.abandoned is None:
            return ""
        return (
            f"was stopped after {drain.abandoned:.0f} s without a response; it may have had "
            "unfinished requests"
        )

    def _pause(self) -> None:
        if self.interrupted.wait(POLL_SECONDS):
            raise ServerError(f"{self.model}: interrupted")

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
