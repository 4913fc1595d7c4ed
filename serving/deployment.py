"""Steps of replacing a model while it is asked: start, try, switch, drain, and only then take away.

Those of adding one, or of taking one from a server, are the same as far as there are others.

TorchServe kills workers at once when a version is unregistered, so the old one goes last, when it
has nothing left to answer. What is done is written down before and after each step
(:mod:`.record`), so that the next command completes or reverts an interrupted change.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Literal

from falconet.model.archive import archive_workers

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
from .store import copy_archive, prune

START_SECONDS = 180.0
# How long a model that is removed may still get requests that bypass the gateway.
ASKED_SECONDS = 60.0
# How long a previous version may take to finish: a full queue, or clients that name the version.
DRAIN_SECONDS = 600.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Deployment:
    """Changes of one model of a running server; see :mod:`.rollout` for their order.

    Args:
        server: that runs.
        model: its name there.
        say: called with the text of each step.
        interrupted: once set, every wait ends with an error.
    """

    server: Server
    model: str
    say: Say = lambda _: None
    interrupted: Event = field(default_factory=Event, compare=False, repr=False)

    def record(self) -> Record:
        """The stored record of the model.

        Raises:
            ServerError: there is no such model.
        """
        record = self.find_record()
        if record is None:
            raise ServerError(
                f"no model {self.model} on this server; it has {', '.join(self.server.models)}"
            )
        return record

    def find_record(self) -> Record | None:
        """The stored record of the model; ``None`` if there is no such model."""
        return Record.load(self.server.folder).get(self.model)

    def recover(self) -> Record | None:
        """Complete or revert an interrupted change; returns the record after that."""
        record = self.find_record()
        if record is None:
            return None
        if not record.admitted:
            added = record.purpose == "add"
            self.say(
                f"{'reverting' if added else 'completing'} an interrupted change of {self.model}"
            )
            self.undo() if added else self.remove_model()
        elif record.coming is not None:
            default = self._client.describe(self.model)["modelVersion"]
            if record.coming.same_version(default):
                self.say(
                    f"completing an interrupted deployment: version {record.coming.version} is "
                    "already the current version"
                )
                self.switch()
                self.drain()
            else:
                self.say(f"reverting an interrupted deployment of version {record.coming.version}")
                self.undo()
        elif record.leaving is not None:
            self.say(
                "completing an interrupted deployment: stopping the previous version "
                f"{record.leaving.version}"
            )
            self.drain()
        return self.find_record()

    def prepare(
        self,
        release: Release,
        package: Package,
        archive: Path,
        purpose: Literal["deploy", "rollback"],
    ) -> None:
        """Start a release beside the current version, and test it.

        Raises:
            ServerError: there is not enough memory, it does not start, or its predictions differ
                from those in the archive; then call :meth:`undo`.
        """
        if any(release.same_version(each) for each in self._versions()):
            raise ServerError(
                f"{self.model}: another archive is deployed as version {release.version}; pack "
                "this one with another version: falconet archive --version"
            )
        record = self.find_record()
        workers = archive_workers(archive) or self._workers()
        check_fits([Need(self.model, workers, archive)])
        if record is None:
            self.say(
                f"adding the model {self.model}; the server has {', '.join(self.server.models)}"
            )
            self._note(Record(serving=release, purpose="add"))
        else:
            self._note(replace(record, coming=release, purpose=purpose))
        if archive.parent != self.server.store:
            copy_archive(archive, release, self.server.store)
        self._start(release, package, workers)

    def _workers(self) -> int:
        """The number of workers of the model, or for a new one its share among all models."""
        if self.find_record() is None:
            return self.server.workers_per_model(len(self.server.models) + 1)
        return max(1, len(self._client.describe(self.model)["workers"]))

    def _start(self, release: Release, package: Package, workers: int) -> None:
        with self.server.logs.deaths() as deaths:
            self._client.register(release.file, self.model, workers)
            self.say(f"starting version {release.version} (workers: {workers})")
            deadline = time.monotonic() + START_SECONDS
            while not self._ask_or_false(
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
        """Have the gateway send this percentage of the requests to the new version.

        The share expires after some seconds, unless :meth:`renew` is called regularly.

        Raises:
            ServerError: no gateway runs, or it does not apply the share.
        """
        lease = Lease.for_now(FOLLOW_SECONDS + LEASE_SECONDS)
        record = replace(self.record(), percent=percent, lease=lease)
        self._note(record)
        await_gateway(self.server.gateway, self.model, record.split)
        self.renew()
        self.say(f"version {record.split.version} gets {percent} % of the requests")

    def renew(self) -> None:
        """Renew the share of the requests for some seconds.

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
        """Make the new version the current one; :meth:`drain` then stops the previous one."""
        record = self.record()
        if not record.admitted:
            self._note(replace(record, purpose="deploy"))
            self.say(f"{self.model} {record.serving.version} is now served")
            return
        assert record.coming is not None
        self._client.set_default(self.model, record.coming.version)
        # What was scaled stays so, unless the new archive says how many workers it has.
        stated = archive_workers(self.server.store / record.coming.file)
        self._note(replace(record.switched(), workers=0 if stated else record.workers))
        self.say(f"version {record.coming.version} is now the current version")

    def revert_switch(self, before: Record) -> None:
        """Make the version before a switch the current one again, if it was switched at all."""
        if not before.admitted:
            self.remove_model()
            return
        assert before.coming is not None
        self._client.set_default(self.model, before.serving.version)
        self._note(before)
        self._wait_until_drained(before.coming.version)
        self.undo()

    def drain(self) -> None:
        """Stop the previous version when it has finished its requests.

        A model that was added has none; then wait until the gateway, if one runs, has its route.

        Raises:
            ServerError: the server does not respond, or the gateway does not apply the route.
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
            left = self._wait_until_drained(version)
            self._unregister(version)
            self.say(
                f"previous version {version} {left or 'finished its requests and was stopped'}"
            )
        self._note(replace(record, leaving=None))
        prune(self.server.folder)

    def undo(self) -> None:
        """Remove the new version, or the model that was being added."""
        record = self.find_record()
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
                self._wait_until_drained(version)
        if version is not None:
            self._unregister(version)
        self._note(record.without_coming())
        prune(self.server.folder)
        self.say(f"version {record.serving.version} is still the current version")

    def remove_model(self) -> None:
        """Remove the model, with all its versions, when it has finished its requests.

        Raises:
            ServerError: it still gets requests that bypass the gateway, or takes too long to
                respond, or the gateway does not remove its route. Then it is served as before.
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
                self._wait_until_drained(each["modelVersion"], deadline)
        except BaseException:
            self._note(record)
            raise
        self._remove()

    def _remove(self) -> None:
        """Unregister the model, its default version last, and remove its record and archives."""
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
        """Unregister a version; TorchServe kills its workers."""
        for worker in self._client.describe(self.model, version)["workers"]:
            yield_to_others(worker["pid"])
        self._client.unregister(self.model, version)

    def try_to(self, undo: Callable[[], None]) -> None:
        """Call ``undo`` after an error, which stays the one that is raised."""
        try:
            undo()
        except ServerError as error:
            self.say(f"could not revert yet, the server does not respond: {error}")
        except OSError as error:  # a full disk; others of several servers are reverted all the same
            self.say(f"could not revert yet, repeat the command to do so: {error}")

    def _wait_until_drained(self, version: str, deadline: float | None = None) -> str:
        """Wait until a version has finished its requests.

        Returns:
            a text for the user if it may have unfinished requests, else "".

        Raises:
            ServerError: it has unfinished requests at the deadline (default: :data:`DRAIN_SECONDS`
                from now).
        """
        deadline = deadline or time.monotonic() + DRAIN_SECONDS
        drain = Drain(self._client, self.model, version)
        while not drain.finished():
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

    def _ask_or_false(self, ask: Callable[[], bool], deadline: float) -> bool:
        """The answer; False while the server, busy with starting workers, does not respond."""
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
        """The version under which a release is registered; ``None`` if it is not."""
        return next((each for each in self._versions() if release.same_version(each)), None)

    def _versions(self) -> list[str]:
        return [each["modelVersion"] for each in self._client.versions(self.model)]
