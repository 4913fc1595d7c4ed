"""The folder of a training run: recipe, environment, metrics, checkpoint and weights."""

import csv
import io
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from falconet.model import storage
from falconet.native import __version__

from .recipe import Recipe
from .recipe_file import from_json


@dataclass(frozen=True)
class Run:
    """A run folder: ``recipe.json``, ``environment.json``, ``checkpoint.pt``, ``metrics.csv``,
    and, once it is over, ``weights.pt``.
    """

    folder: Path

    @property
    def environment_file(self) -> Path:
        return self.folder / "environment.json"

    @property
    def recipe(self) -> Path:
        return self.folder / "recipe.json"

    @property
    def weights(self) -> Path:
        return self.folder / "weights.pt"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.csv"

    def finished_weights(self) -> Path:
        """The weights that the run ended with.

        Raises:
            FileNotFoundError: it is not over.
        """
        if not self.weights.exists():
            raise FileNotFoundError(
                f"{self.folder}: no weights.pt yet; finish the run with falconet train --resume"
            )
        return self.weights

    def recipe_name(self) -> str:
        """The name of the recipe that the run began with.

        Raises:
            FileNotFoundError: this is no run folder.
        """
        if not self.recipe.exists():
            raise FileNotFoundError(
                f"{self.folder}: expected the folder of a training run, but {self.recipe.name} is "
                "missing"
            )
        return str(json.loads(self.recipe.read_text())["recipe"])

    def check(self, recipe: Recipe, *, resume: bool) -> None:
        """Check, before any work, that a run can begin or resume here.

        Raises:
            FileExistsError: to begin, where a run has begun.
            FileNotFoundError: to go on, where none has.
            ValueError: to go on with another recipe.
        """
        if not resume:
            if self.recipe.exists():
                raise FileExistsError(
                    f"{self.folder} holds a run already: continue it with --resume, or name "
                    "another folder with --output"
                )
        elif (
            self.recipe_name() != recipe.name
            or from_json(self.recipe.read_text(), recipe) != recipe
        ):
            raise ValueError(
                f"{self.folder}: the recipe is not the one this run began with; see its "
                "recipe.json, or begin a new run"
            )

    def begin(self, recipe: Recipe, processes: int, checkpoint: dict[str, Any]) -> None:
        """Create the folder of a new run, which can be resumed from then on.

        Args:
            recipe: of the run; its file marks the folder as a run, and is written last.
            processes: number of training processes.
            checkpoint: before the first epoch.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.metrics.unlink(missing_ok=True)
        self._write_environment(describe_environment(processes))
        self.save_checkpoint(checkpoint)
        storage.write(self.recipe, recipe.to_json().encode())

    def begin_from(self, finished: "Run", recipe: Recipe) -> None:
        """Create the folder of a run that continues a finished run of another recipe."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_environment(finished.environment())
        storage.write(self.metrics, finished.metrics.read_bytes())
        self.save_checkpoint({**storage.load(finished.checkpoint), "finished": False})
        storage.write(self.recipe, recipe.to_json().encode())

    def resumed_at(self, epoch: int, processes: int) -> None:
        """Drop rows logged after an epoch, and record the environment if it has changed."""
        self._write([row for row in self.rows() if int(row["epoch"]) <= epoch])
        environment, here = self.environment(), describe_environment(processes)
        places = environment.pop("then", [])
        if here != ([environment, *places])[-1]:
            self._write_environment({**environment, "then": [*places, here]})

    def environment(self) -> dict[str, Any]:
        """The environment of the start, and under ``"then"`` others in which the run resumed."""
        content: dict[str, Any] = json.loads(self.environment_file.read_text())
        return content

    def _write_environment(self, environment: dict[str, Any]) -> None:
        text = json.dumps(environment, indent=2) + "\n"
        storage.write(self.environment_file, text.encode())

    def save_checkpoint(self, content: dict[str, Any]) -> None:
        """Replace the checkpoint; a crash leaves either the old or the new one, whole.

        Raises:
            OSError: it could not be written; the one before is as it was, to be resumed from.
        """
        storage.save(content, self.checkpoint)

    def load_checkpoint(self, data: str) -> dict[str, Any]:
        """The checkpoint to resume from.

        Args:
            data: fingerprint of the data set; has to be what was saved under ``"data"``.

        Raises:
            ValueError: it is damaged, or was made of other data.
        """
        content = storage.load(self.checkpoint)
        if content["data"] != data:
            raise ValueError(
                f"{self.folder}: the images are not those this run began with; name the same "
                "folder with --data"
            )
        return content

    def log(self, row: dict[str, Any]) -> None:
        """Append a row to ``metrics.csv``."""
        self._write([*self.rows(), row])

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        text = io.StringIO(newline="")
        if rows:
            writer = csv.DictWriter(text, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        storage.write(self.metrics, text.getvalue().encode())

    def rows(self) -> list[dict[str, str]]:
        """The logged metrics, one row per epoch."""
        if not self.metrics.exists():
            return []
        return list(csv.DictReader(self.metrics.read_text().splitlines()))


def describe_environment(processes: int = 1) -> dict[str, Any]:
    """What a result depends on besides the recipe."""
    return {
        "falconet": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a plain str, because safe loading rejects its class
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "processor": processor(),
        "cpu_threads": torch.get_num_threads(),
        "processes": processes,
    }


def machine(environment: Mapping[str, Any]) -> str:
    """Short description of the hardware in :func:`describe_environment`."""
    threads = environment["cpu_threads"]
    found = f"{environment['processor']}, {threads} thread{'s' if threads > 1 else ''}"
    if environment["device"] != "cpu":
        found = str(environment["device"])
    every = [found, *map(machine, environment.get("then", []))]
    # A machine on which the run resumes is named once.
    return "; then on ".join(name for name, _ in groupby(every))


def processor() -> str:
    """The processor's name; if the system does not tell it, its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
