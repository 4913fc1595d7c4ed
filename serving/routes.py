"""What a gateway passes on, as it says in its folder for others to wait for."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from . import json_file, nginx_folder
from .errors import ServerError
from .split import Split

FILE_NAME = "routes.json"
# The gateway reads models.json once a second.
FOLLOW_SECONDS = 30.0
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Routes:
    """The models that a gateway passes requests on for.

    Attributes:
        default: the model that requests are for that name none.
        splits: of each model, by its name.
    """

    default: str
    splits: Mapping[str, Split]

    def save(self, folder: Path) -> None:
        """Write down in a gateway's folder that it does so."""
        json_file.write(folder / FILE_NAME, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "Routes | None":
        """What the gateway with this folder does; ``None`` if it does not run."""
        nginx = nginx_folder.find(folder)
        if nginx is not None and not nginx_folder.running(nginx):
            return None  # it was killed, and has left its routes behind
        try:
            found = json.loads((folder / FILE_NAME).read_text())
        except (FileNotFoundError, ValueError):  # none, or cut off by a power loss
            return None
        splits = {model: Split(**split) for model, split in found["splits"].items()}
        return cls(found["default"], splits)

    @classmethod
    def forget(cls, folder: Path) -> None:
        """There is no gateway any more."""
        (folder / FILE_NAME).unlink(missing_ok=True)


def await_gateway(folder: Path, model: str, split: Split | None) -> None:
    """Wait until the gateway with this folder splits a model's requests so.

    Args:
        folder: of the gateway.
        model: its name.
        split: of its requests; ``None`` if they are not to be passed on any more.

    Raises:
        ServerError: there is none, or it does not follow.
    """
    deadline = time.monotonic() + FOLLOW_SECONDS
    while (found := Routes.load(folder)) is None or found.splits.get(model) != split:
        if found is None:
            raise ServerError(
                f"no gateway runs with {folder.parent}; start one with: falconet gateway"
            )
        if time.monotonic() > deadline:
            raise ServerError(
                f"the gateway with {folder} did not update the route of {model} within "
                f"{FOLLOW_SECONDS:.0f} s (it has {found.splits.get(model)}); see its logs there"
            )
        time.sleep(POLL_SECONDS)
