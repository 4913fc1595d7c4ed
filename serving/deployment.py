"""Replacing a model while it is asked: start, try, switch, drain, and only then take away.

TorchServe kills workers at once when a version is unregistered, so the old one goes last, when it
has nothing left to answer. What is done is written down before and after each step
(:mod:`.record`); whoever comes next finishes or undoes what was left half done.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from falconet.model.samples import Sample

from .client import Client, predict
from .errors import ServerError
from .package import Package
from .record import Record, Release, alone
from .server import Server

POLL_SECONDS = 0.25
START_SECONDS = 180.0
# Workers tell what they have in hand once a second; this is twice that, and a little.
QUIET_SECONDS = 2.5
# Probabilities are recorded in float32; a server may compute in bfloat16.
TOLERANCE = 0.1
SMOKE_SECONDS = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Deployment:
    """Changes of one model of a running server.

    Args:
        server: that runs.
        model: its name there.
        say: is told each step.
    """

    server: Server
    model: str
    say: Say = lambda _: None

    @classmethod
    def deploy(cls, server: Server, archive: Path, say: Say = lambda _: None) -> Release:
        """Replace what a server serves under an archive's name, without an error for anyone.

        Returns:
            what serves now.

        Raises:
            ServerError: the archive is not right, or its model does not start or does not answer as
                recorded; then the old version serves as before, and nothing of the new one is left.
        """
        package = Package.verify(archive)
        self = cls(server, package.model, say)
        with alone(server.folder):
            record = self._recover()
            release = Release(package.version, package.file_name)
            if release == record.serving:
                say(f"{self.model} {package.version} is what serves already")
                return release
            if release.version in self._versions():
                raise ServerError(
                    f"{self.model}: another archive serves as version {release.version}; give this "
                    "one its own: falconet archive --version"
                )
            say(f"checked {archive.name}: {self.model} {release.version}, {package.sha256[:12]}")
            self._note(replace(record, coming=release))
            with self._undone_on_error():
                self._copy(archive, release)
                self._start(release, package)
            self._switch()
            return release

    @classmethod
    def rollback(cls, server: Server, model: str, say: Say = lambda _: None) -> Release:
        """Replace what serves by what served before it, in the same way.

        Raises:
            ServerError: nothing did, or as :meth:`deploy`.
        """
        self = cls(server, model, say)
        with alone(server.folder):
            record = self._recover()
            if record.previous is None:
                raise ServerError(f"{model}: nothing has been deployed that could be rolled back")
            package = Package.verify(server.store / record.previous.file)
            self._note(replace(record, coming=record.previous))
            with self._undone_on_error():
                self._start(record.previous, package)
            self._switch()
            return record.previous

    def _recover(self) -> Record:
        """Finish or undo what was interrupted, and say what serves."""
        record = Record.load(self.server.folder).get(self.model)
        if record is None:
            versions = self._versions()
            if not versions:
                raise ServerError(
                    f"no model {self.model} runs here, but {', '.join(self._client.models())}; "
                    "an archive's name is its model's"
                )
            default = self._client.describe(self.model)
            return Record(Release(default["modelVersion"], default["modelUrl"]))
        if record.coming is not None:
            if self._default() == record.coming.version:
                self.say(f"finishing what was interrupted: {record.coming.version} serves already")
                self._switch()
            else:
                self.say(f"undoing what was interrupted: {record.coming.version}")
                self._undo()
        elif record.leaving is not None:
            self.say(f"finishing what was interrupted: {record.leaving.version} leaves")
            self._drain()
        return Record.load(self.server.folder)[self.model]

    def _copy(self, archive: Path, release: Release) -> None:
        """Into the model store, under a name of its own, complete or not at all."""
        target = self.server.store / release.file
        partial = target.with_suffix(".partial")
        try:
            shutil.copyfile(archive, partial)
            partial.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise ServerError(f"{archive} could not be copied to {target}: {error}") from error

    def _start(self, release: Release, package: Package) -> None:
        """Register a version beside the one that serves, and try it."""
        workers = max(1, len(self._client.describe(self.model)["workers"]))
        deaths = self.server.deaths(self.model, release.version)
        self._client.register(release.file, self.model, workers)
        self.say(f"{release.version} starts with {workers} workers")
        deadline = time.monotonic() + START_SECONDS
        while not self._client.workers_ready(self.model, release.version):
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
        for i, sample in enumerate(package.samples):
            self._try(release, i, sample)
        self.say(f"{release.version} is ready, and answers {len(package.samples)} samples rightly")

    def _try(self, release: Release, number: int, sample: Sample) -> None:
        url = self._client.prediction_url(self.model, release.version)
        answer = predict(url, sample.picture, timeout=SMOKE_SECONDS)
        best = answer["predictions"][0] if answer["success"] else {}
        if (
            best.get("label") != sample.label
            or abs(best["probability"] - sample.probability) > TOLERANCE
        ):
            raise ServerError(
                f"{self.model} {release.version}: expected {sample.label} with probability "
                f"{sample.probability:.3f} for sample {number}, got {best or answer}"
            )

    def _switch(self) -> None:
        """The coming version answers from now on, and the old one leaves."""
        record = Record.load(self.server.folder)[self.model]
        assert record.coming is not None
        self._client.set_default(self.model, record.coming.version)
        self._note(record.switched())
        self.say(f"{record.coming.version} serves")
        self._drain()

    def _drain(self) -> None:
        """Take the leaving version away once it has nothing to answer."""
        record = Record.load(self.server.folder)[self.model]
        assert record.leaving is not None
        version = record.leaving.version
        # A worker that dies takes what it has begun with it, so that it is never answered.
        deadline = time.monotonic() + self._patience(record.leaving)
        quiet_since = time.monotonic()
        while version in self._versions():
            queue = self._client.describe(self.model, version)["jobQueueStatus"]
            if queue["pendingRequests"] or self._client.in_hand(self.model, version):
                quiet_since = time.monotonic()
            if time.monotonic() > min(deadline, quiet_since + QUIET_SECONDS):
                self._client.unregister(self.model, version)
                self.say(f"{version} has answered all it had, and is gone")
            time.sleep(POLL_SECONDS)
        record = replace(record, leaving=None)
        self._note(record)
        self._prune(record)

    def _patience(self, release: Release) -> float:
        """After so long a worker that does not answer is killed by TorchServe itself."""
        try:
            return Package.verify(self.server.store / release.file).response_timeout
        except ServerError:  # an archive from elsewhere
            return SMOKE_SECONDS

    @contextlib.contextmanager
    def _undone_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        """Leave nothing of the coming version."""
        record = Record.load(self.server.folder)[self.model]
        assert record.coming is not None
        if record.coming.version in self._versions():
            self._client.unregister(self.model, record.coming.version)
        record = replace(record, coming=None)
        self._note(record)
        self._prune(record)
        self.say(f"{record.serving.version} serves as before")

    def _prune(self, record: Record) -> None:
        """Remove archives that were copied into the store and are not needed any more."""
        for path in self.server.store.glob(f"{self.model}-*-????????????.*"):
            if path.name not in record.files():
                path.unlink(missing_ok=True)

    def _note(self, record: Record) -> None:
        record.save(self.server.folder, self.model)

    @property
    def _client(self) -> Client:
        return self.server.client

    def _versions(self) -> list[str]:
        return [each["modelVersion"] for each in self._client.versions(self.model)]

    def _default(self) -> str:
        return str(self._client.describe(self.model)["modelVersion"])
