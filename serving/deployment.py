"""Replacing a model while it is asked: start, try, switch, drain, and only then take away.

TorchServe kills workers at once when a version is unregistered, so the old one goes last, when it
has nothing left to answer. What is done is written down before and after each step
(:mod:`.record`); whoever comes next finishes or undoes what was left half done.
"""

import contextlib
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
from .store import identify, prune, put

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
                Or the server does not answer: then what was begun is finished or undone by the next
                deploy or rollback.
        """
        package = Package.verify(archive)
        self = cls(server, package.model, say)
        with alone(server.folder):
            record = self._recover()
            release = identify(archive)
            if release == record.serving:
                say(f"{self.model} {package.version} is what serves already")
                return release
            if any(release.same_version(each) for each in self._versions()):
                raise ServerError(
                    f"{self.model}: another archive serves as version {release.version}; give this "
                    "one its own: falconet archive --version"
                )
            say(f"checked {archive.name}: {release.file}")
            self._note(replace(record, coming=release, purpose="deploy"))
            with self._undone_on_error():
                put(archive, release, server.store)
                self._start(release, package)
            self._switch()
            return release

    @classmethod
    def rollback(cls, server: Server, model: str, say: Say = lambda _: None) -> Release:
        """Replace what serves by what served before it, in the same way.

        Repeated after an interruption, it finishes that rollback and goes back no further.

        Raises:
            ServerError: nothing did, or as :meth:`deploy`.
        """
        self = cls(server, model, say)
        with alone(server.folder):
            before = self._record()
            record = self._recover()
            if before.purpose == "rollback" and (
                before.leaving is not None or before.coming == record.serving
            ):
                return record.serving
            if record.previous is None:
                raise ServerError(f"{model}: nothing has been deployed that could be rolled back")
            path = server.store / record.previous.file
            package = Package.verify(path)
            if identify(path) != record.previous:
                raise ServerError(f"{path}: not as it was when it was deployed")
            self._note(replace(record, coming=record.previous, purpose="rollback"))
            with self._undone_on_error():
                self._start(record.previous, package)
            self._switch()
            return record.previous

    def _record(self) -> Record:
        records = Record.load(self.server.folder)
        if self.model not in records:
            raise ServerError(
                f"no model {self.model} runs here, but {', '.join(records)}; a model's name is "
                "that of the archive when it is made: falconet archive --output MODEL.mar"
            )
        return records[self.model]

    def _recover(self) -> Record:
        """Finish or undo what was interrupted, and say what serves."""
        record = self._record()
        if record.coming is not None:
            default = self._client.describe(self.model)["modelVersion"]
            if record.coming.same_version(default):
                self.say(f"finishing what was interrupted: {record.coming.version} serves already")
                self._switch()
            else:
                self.say(f"undoing what was interrupted: {record.coming.version}")
                self._undo()
        elif record.leaving is not None:
            self.say(f"finishing what was interrupted: {record.leaving.version} leaves")
            self._drain()
        return self._record()

    def _start(self, release: Release, package: Package) -> None:
        """Register a version beside the one that serves, and try it."""
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
        for i, sample in enumerate(package.samples):
            self._try(release, i, sample)
        self.say(f"{release.version} is ready, and answers {len(package.samples)} samples rightly")

    def _try(self, release: Release, number: int, sample: Sample) -> None:
        url = self._client.prediction_url(self.model, release.version)
        answer = predict(url, sample.picture, timeout=SMOKE_SECONDS)
        predictions = answer.get("predictions")
        best = predictions[0] if isinstance(predictions, list) and predictions else {}
        if (
            best.get("label") != sample.label
            or abs(best.get("probability", 0.0) - sample.probability) > TOLERANCE
        ):
            raise ServerError(
                f"{self.model} {release.version}: expected {sample.label} with probability "
                f"{sample.probability:.3f} for sample {number}, got {best or answer}"
            )

    def _switch(self) -> None:
        """The coming version answers from now on, and the old one leaves."""
        record = self._record()
        assert record.coming is not None
        self._client.set_default(self.model, record.coming.version)
        self._note(record.switched())
        self.say(f"{record.coming.version} serves")
        self._drain()

    def _drain(self) -> None:
        """Take the leaving version away once it has nothing to answer."""
        record = self._record()
        assert record.leaving is not None
        version = record.leaving.version
        state: tuple[int, int | None, int] | None = None
        busy, since = True, time.monotonic()
        while any(record.leaving.same_version(each) for each in self._versions()):
            described = self._client.describe(self.model, version)
            begun, answered = self._client.counted(self.model, version)
            pending = described["jobQueueStatus"]["pendingRequests"]
            seen = (pending, begun, answered)
            if seen != state:
                state, since = seen, time.monotonic()
            # Without counts, which are those of our handler, all that can be done is to wait.
            busy = bool(pending) or begun is None or begun > answered
            # After so long a worker that does not answer is killed by TorchServe itself.
            patience = described["responseTimeout"]
            # What a worker gathers for a batch is neither in the queue nor begun.
            quiet = QUIET_SECONDS + described["maxBatchDelay"] / 1000
            if time.monotonic() > since + (patience if busy else quiet):
                self._client.unregister(self.model, version)
                left = f"; nothing was heard for {patience:.0f} s of what it had" if busy else ""
                self.say(f"{version} is gone{left or ', and has answered all it had'}")
            time.sleep(POLL_SECONDS)
        self._note(replace(record, leaving=None))
        prune(self.server.folder)

    @contextlib.contextmanager
    def _undone_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            try:
                self._undo()
            except ServerError as error:  # the first one says why
                self.say(f"not undone yet, as the server does not answer: {error}")
            raise

    def _undo(self) -> None:
        """Leave nothing of the coming version."""
        record = self._record()
        assert record.coming is not None
        if any(record.coming.same_version(each) for each in self._versions()):
            self._client.unregister(self.model, record.coming.version)
        self._note(replace(record, coming=None))
        prune(self.server.folder)
        self.say(f"{record.serving.version} serves as before")

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

    def _versions(self) -> list[str]:
        return [each["modelVersion"] for each in self._client.versions(self.model)]
