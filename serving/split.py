"""A share of a model's requests, for a version that is being tried."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from .errors import ServerError

FILE_NAME = "split.json"
# The gateway looks once a second, and asks for a prediction before.
FOLLOW_SECONDS = 30.0
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Split:
    """What a gateway does with requests that name no version.

    Attributes:
        version: that gets some of them.
        percent: how many, from 0 to 100; the rest is for the version that serves.
    """

    version: str = ""
    percent: int = 0

    def save(self, folder: Path) -> None:
        """Write down in a gateway's folder that it does so."""
        path = folder / FILE_NAME
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"version": self.version, "percent": self.percent}) + "\n")
        partial.replace(path)

    @classmethod
    def load(cls, folder: Path) -> "Split | None":
        """What the gateway with this folder does; ``None`` if it does not run."""
        try:
            return cls(**json.loads((folder / FILE_NAME).read_text()))
        except FileNotFoundError:
            return None

    @classmethod
    def forget(cls, folder: Path) -> None:
        """There is no gateway any more."""
        (folder / FILE_NAME).unlink(missing_ok=True)

    def await_gateway(self, folder: Path) -> None:
        """Wait until the gateway with this folder does so.

        Raises:
            ServerError: there is none, or it does not follow.
        """
        deadline = time.monotonic() + FOLLOW_SECONDS
        while (found := self.load(folder)) != self:
            if found is None:
                raise ServerError(
                    f"no gateway runs with {folder.parent}, to share out requests; start one with: "
                    "falconet gateway"
                )
            if time.monotonic() > deadline:
                raise ServerError(f"the gateway with {folder} did not follow: {found}")
            time.sleep(POLL_SECONDS)
