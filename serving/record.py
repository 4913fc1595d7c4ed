"""What a server is to serve, written down, so that it survives the server."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from .errors import ServerError
from .split import Split

FILE_NAME = "models.json"
LOCK = "deploy.lock"


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
        given: the file that the server was started with.
        serving: answers requests that name no version.
        previous: did so before; what a rollback goes back to.
        coming: is being started and tried, and may have to be taken away again.
        leaving: has been replaced, and may still have requests to answer.
        purpose: why the one comes and the other leaves.
        percent: of the requests that name no version, what the gateway gives to the coming one.
    """

    given: str
    serving: Release
    previous: Release | None = None
    coming: Release | None = None
    leaving: Release | None = None
    purpose: Literal["deploy", "rollback"] = "deploy"
    percent: int = 0

    @classmethod
    def load(cls, folder: Path) -> "dict[str, Record]":
        """All models of a server, by name, from its state folder; none where none has started.

        Raises:
            ServerError: the file is damaged.
        """
        path = folder / FILE_NAME
        try:
            content: dict[str, dict[str, Any]] = json.loads(path.read_text())
            for fields in content.values():
                fields |= {k: Release(**v) for k, v in fields.items() if isinstance(v, dict)}
            return {model: cls(**fields) for model, fields in content.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise ServerError(
                f"{path}: damaged ({error}); remove it to begin with the archive that "
                "`falconet serve` is given"
            ) from None

    def save(self, folder: Path, model: str) -> None:
        """Write this model's part of the file, all or nothing."""
        records = {**self.load(folder), model: self}
        partial = folder / f"{FILE_NAME}.partial"
        content = {name: asdict(record) for name, record in records.items()}
        partial.write_text(json.dumps(content, indent=2) + "\n")
        partial.replace(folder / FILE_NAME)

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


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else changes this server's models meanwhile; a process that dies lets go.

    Raises:
        ServerError: somebody does.
    """
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError(
                f"another command is changing the models in {folder}; wait for it to end"
            ) from None
        yield
