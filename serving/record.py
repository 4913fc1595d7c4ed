"""What a server is to serve, written down, so that it survives the server.

The file is ``{"given": [archive, ...], "models": {name: record, ...}}``. Before several models
could run it held the records alone, and each of them the one archive that was given.
"""

import fcntl
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from . import json_file
from .errors import ServerError
from .split import Split

FILE_NAME = "models.json"
LOCK = "deploy.lock"
POLL_SECONDS = 0.1


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
        previous: did so before; what a rollback goes back to.
        coming: is being started and tried, and may have to be taken away again.
        leaving: has been replaced, and may still have requests to answer.
        purpose: why the one comes and the other leaves; or, while the model itself is added to a
            server or taken from it, that.
        percent: of the requests that name no version, what the gateway gives to the coming one.
    """

    serving: Release
    previous: Release | None = None
    coming: Release | None = None
    leaving: Release | None = None
    purpose: Literal["deploy", "rollback", "add", "undeploy"] = "deploy"
    percent: int = 0

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
        """The one that was coming serves now."""
        assert self.coming is not None
        return replace(
            self,
            serving=self.coming,
            previous=self.serving,
            leaving=self.serving,
            coming=None,
            percent=0,
        )

    @property
    def split(self) -> Split:
        """What the gateway should do."""
        if self.coming is None or not self.percent:
            return Split()
        return Split(self.coming.version, self.percent)

    def files(self) -> set[str]:
        """Archives in the store that are needed."""
        releases = (self.serving, self.previous, self.coming, self.leaving)
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
            fields |= {k: Release(**v) for k, v in fields.items() if isinstance(v, dict)}
        return Content(given, {model: Record(**fields) for model, fields in models.items()})
    except FileNotFoundError:
        return Content([], {})
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ServerError(
            f"{path}: damaged ({error}); remove it to begin with the archives that "
            "`falconet serve` is given"
        ) from None


def write(folder: Path, given: Sequence[str], models: Mapping[str, Record]) -> None:
    """Replace the file, all or nothing."""
    records = {model: asdict(record) for model, record in models.items()}
    json_file.write(folder / FILE_NAME, {"given": list(given), "models": records})


@contextmanager
def alone(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Nobody else changes this server's models meanwhile; a process that dies lets go.

    Args:
        folder: of the server's state.
        patience: seconds to wait for somebody who does.

    Raises:
        ServerError: somebody still does.
    """
    deadline = time.monotonic() + patience
    with (folder / LOCK).open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise ServerError(
                        f"another command is changing the models in {folder}; wait for it to end"
                    ) from None
            time.sleep(POLL_SECONDS)
        yield
