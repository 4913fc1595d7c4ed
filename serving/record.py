"""What a server is to serve, written down, so that it survives the server.

The file is ``{"given": [archive, ...], "models": {name: record, ...}}``. Before several models
could run it held the records alone, and each of them the one archive that was given.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from . import json_file
from .errors import ServerError
from .lease import Lease
from .lock import lock
from .split import Split

FILE_NAME = "models.json"
LOCK = "deploy.lock"
# So many earlier releases, and later ones, can be gone back to.
KEPT = 5


@dataclass(frozen=True)
class Release:
    """A version of a model, and the name of its archive in the server's model store.

    The name holds a checksum of the archive, so that it never comes to mean another one.
    """

    version: str
    file: str

    def same_version(self, version: str) -> bool:
        """As TorchServe compares them, for which they are numbers: 2 is 2.0."""
        return float(self.version) == float(version)


@dataclass(frozen=True)
class Record:
    """The releases of one model.

    Attributes:
        serving: answers requests that name no version.
        earlier: did so before, the last one first; a rollback goes back to that.
        later: did so after, and have been rolled back from, the first one first.
        coming: is being started and tried, and may have to be taken away again.
        leaving: has been replaced, and may still have requests to answer.
        purpose: why the one comes and the other leaves; or, while the model itself is added to a
            server or taken from it, that.
        percent: of the requests that name no version, what the gateway gives to the coming one,
        lease: as long as this is valid.
        workers: that the serving release has been scaled to; 0 where it has not been.
    """

    serving: Release
    earlier: tuple[Release, ...] = ()
    later: tuple[Release, ...] = ()
    coming: Release | None = None
    leaving: Release | None = None
    purpose: Literal["deploy", "rollback", "add", "undeploy"] = "deploy"
    percent: int = 0
    lease: Lease | None = None
    workers: int = 0

    @classmethod
    def load(cls, folder: Path) -> "dict[str, Record]":
        """All models of a server, by name, in the order in which they came; raises as :func:`read`.

        The first is the one that is meant where a gateway is told no other.
        """
        return read(folder).models

    def save(self, folder: Path, model: str) -> None:
        """Write this model's part of the file, all or nothing."""
        found = read(folder)
        write(folder, found.given, {**found.models, model: self})

    @classmethod
    def forget(cls, folder: Path, model: str) -> None:
        """Leave this model out of the file."""
        found = read(folder)
        write(folder, found.given, {k: v for k, v in found.models.items() if k != model})

    @property
    def admitted(self) -> bool:
        """Whether requests for the model are passed on, and a server that is started serves it."""
        return self.purpose not in ("add", "undeploy")

    def switched(self) -> "Record":
        """The one that was coming serves now.

        A rollback goes back among those that have served, or forward; a deploy takes the place of
        all that were rolled back from.
        """
        assert self.coming is not None
        if self.purpose == "rollback":
            history = [*reversed(self.earlier), self.serving, *self.later]
        else:
            before = [*reversed(self.earlier), self.serving]
            history = [*(each for each in before if each != self.coming), self.coming]
        at = history.index(self.coming)
        return replace(
            self.without_coming(),
            serving=self.coming,
            earlier=tuple(reversed(history[max(0, at - KEPT) : at])),
            later=tuple(history[at + 1 :][:KEPT]),
            leaving=self.serving,
        )

    def without_coming(self) -> "Record":
        """Nothing comes, and nothing is on trial."""
        return replace(self, coming=None, percent=0, lease=None)

    def served(self, version: str) -> Release | None:
        """The release of this version that serves or did so, if its archive is still kept."""
        kept = (self.serving, *self.earlier, *self.later)
        return next((each for each in kept if each.same_version(version)), None)

    @property
    def split(self) -> Split:
        """What the gateway should do."""
        if self.coming is None or self.lease is None or not self.lease.valid:
            return Split()
        return Split(self.coming.version, self.percent)

    def files(self) -> set[str]:
        """Archives in the store that are needed."""
        releases = (self.serving, *self.earlier, *self.later, self.coming, self.leaving)
        return {each.file for each in releases if each is not None}


class Content(NamedTuple):
    """Of the file: the archives that the server was first given, and a record of each model."""

    given: Sequence[str]
    models: dict[str, Record]


def read(folder: Path) -> Content:
    """What the file in a state folder says; nothing where no server has been started.

    Raises:
        ServerError: the file is damaged.
    """
    path = folder / FILE_NAME
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        given, models = content.get("given"), content.get("models", {})
        if not isinstance(given, list):
            models = content
            given = [fields.pop("given") for fields in models.values()]
        for fields in models.values():
            if "previous" in fields:  # of a version that kept one only
                fields["earlier"] = [each for each in [fields.pop("previous")] if each]
            for name, value in fields.items():
                if isinstance(value, dict):
                    fields[name] = Lease(**value) if name == "lease" else Release(**value)
                elif isinstance(value, list):
                    fields[name] = tuple(Release(**each) for each in value)
        return Content(given, {model: Record(**fields) for model, fields in models.items()})
    except FileNotFoundError:
        return Content([], {})
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ServerError(
            f"{path}: damaged ({error}); remove it to start with the archives given "
            "to `falconet serve`"
        ) from None


def write(folder: Path, given: Sequence[str], models: Mapping[str, Record]) -> None:
    """Replace the file, all or nothing."""
    records = {model: asdict(record) for model, record in models.items()}
    json_file.write(folder / FILE_NAME, {"given": list(given), "models": records})


@contextmanager
def lock_models(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock for changes of a server's models; the kernel releases it if the process dies.

    Args:
        folder: of the server's state.
        patience: seconds to wait while another process holds it.

    Raises:
        ServerError: another process still holds it.
    """
    held = lock(folder / LOCK, patience)
    if held is None:
        raise ServerError(f"another command is changing the models in {folder}; wait for it to end")
    with held:
        yield
