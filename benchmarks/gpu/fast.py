"""How long fast94, fast95 and fast96 take, beside airbench's published figures."""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from falconet.training import recipes
from falconet.training.results import Result
from falconet.training.results import spread as accuracy
from falconet.training.run import Run

from ..table import spread, table
from .child import python
from .estimate import seconds
from .steps import Found, MissingError, Outcome, Step

PART = "fast"
RUNS = 5
COMPILED, COMPILED_EPOCHS, COMPILING = "fast96", 4, 90.0  # recipe, epochs, seconds


class Airbench(NamedTuple):
    """A published figure: accuracy of six views of each test image, and seconds on one A100."""

    name: str
    accuracy: float
    seconds: float


SOURCE = "Keller Jordan, cifar10-airbench (GitHub) and arXiv:2404.00498"
AIRBENCH = {
    "fast94": Airbench("airbench94", 0.9401, 3.83),
    "fast95": Airbench("airbench95", 0.9501, 10.4),
    "fast96": Airbench("airbench96", 0.9603, 34.7),
}


@dataclass(frozen=True)
class Fast:
    """The runs of the three recipes.

    Attributes:
        kind: ``"cuda"`` or ``"cpu"``.
        device: its name.
        data: of CIFAR-10; ``None`` where there is none.
        folder: of the results, and of the runs.
    """

    kind: str
    device: str
    data: str | None
    folder: Path

    def steps(self) -> list[Step]:
        """A step for each run, and what torch.compile would bring."""
        found = [
            Step(
                f"{name}-{seed}",
                PART,
                seconds(recipes.load(name), self.kind),
                partial(self.run, name, seed),
                repeated=False,
            )
            for name in AIRBENCH
            for seed in range(RUNS)
        ]
        both = 2 * seconds(recipes.load(COMPILED), self.kind, COMPILED_EPOCHS) + COMPILING
        return [*found, Step("compile", PART, both, self.compile, repeated=False)]

    def run(self, name: str, seed: int, left: float) -> Found:
        """One run; those of other devices have other folders."""
        folder = self.folder / PART / re.sub(r"\W+", "-", self.device).lower()
        places = [self._data(), str(folder / "runs"), str(folder)]
        log = self.folder / "logs" / f"{name}-{seed}.log"
        python("benchmarks.gpu.row", [name, str(seed), *places], log, left)
        result = Result.load(name, folder)
        if result is None:
            raise RuntimeError(f"expected a result of {name} in {folder}")
        (run,) = (run for run in result.runs if run.seed == seed)
        rows = Run(folder / "runs" / f"{name}-{seed}").rows()
        return {
            "recipe": name,
            "accuracy": run.accuracy,
            "epochs": run.epochs,
            "seconds": run.seconds,
            "seconds_with_first_epoch": round(sum(float(row["seconds"]) for row in rows), 1),
        }

    def compile(self, left: float) -> Found:
        """Epochs with torch.compile and without it, and from how many epochs it pays."""
        data = self._data()
        if not any(map(shutil.which, ("cc", "gcc", "clang"))):
            raise MissingError("torch.compile needs a C compiler, found none")
        found: Found = {"recipe": COMPILED, "epochs": COMPILED_EPOCHS}
        with TemporaryDirectory(dir=self.folder) as temporary:
            for name in ("false", "true"):
                run = Run(Path(temporary, name))
                fields = ["train", COMPILED, f"epochs={COMPILED_EPOCHS}", f"compile={name}"]
                log = self.folder / "logs" / f"compile-{name}.log"
                places = ["--data", data, "--output", str(run.folder)]
                python("falconet.cli", [*fields, *places], log, left)
                first, *others = [float(row["seconds"]) for row in run.rows()]
                found[f"compile={name}"] = {"first_epoch": first, "epoch": median(others)}
        return found | {
            "pays_from_epochs": pays_from(found["compile=false"], found["compile=true"])
        }

    def _data(self) -> str:
        if self.data is None:
            raise MissingError("expected CIFAR-10 in --data, found no such images")
        return self.data


def pays_from(plain: Found, compiled: Found) -> int | None:
    """The epochs from which compiling takes less time in all; ``None`` if it never does."""
    saved = plain["epoch"] - compiled["epoch"]
    if saved <= 0:
        return None
    cost = (compiled["first_epoch"] - compiled["epoch"]) - (plain["first_epoch"] - plain["epoch"])
    return max(1, 1 + int(cost / saved))


def beside_airbench(outcomes: Iterable[Outcome]) -> str:
    """A table of what was run; empty if nothing was."""
    done = [each.found for each in outcomes if each.part == PART and "accuracy" in each.found]
    rows = []
    for name, published in AIRBENCH.items():
        runs = [each for each in done if each["recipe"] == name]
        if runs:
            few = "" if len(runs) >= RUNS else f", fewer than {RUNS} runs"
            rows.append(
                [
                    f"`{name}`",
                    accuracy([each["accuracy"] for each in runs]) + few,
                    spread([each["seconds"] for each in runs], ".1f", " s"),
                    published.name,
                    f"{100 * published.accuracy:.2f} %",
                    f"{published.seconds} s",
                ]
            )
    if not rows:
        return ""
    head = ["recipe", "one view", "training", "published", "six views", "on one A100"]
    return (
        f"{table(head, rows)}\n\nOurs run more epochs, and test one view of each image. Training "
        f"is the median epoch times their number. Published: {SOURCE}.\n"
    )
