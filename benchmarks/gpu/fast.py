"""How long fast94, fast95 and fast96 take, compared with airbench's published figures."""

import shutil
import sysconfig
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from falconet.training import recipes
from falconet.training.results import spread as accuracy
from falconet.training.run import Run

from ..table import spread, table
from . import estimate
from .child import python
from .steps import Figures, Findings, Outcome, SkippedError, Step
from .train_recipe import kept

PART = "fast"
SEEDS = 5
COMPILED, COMPILED_EPOCHS, COMPILE_SECONDS = "fast94", 8, 60.0


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
class AirbenchComparison:
    """The runs of the three recipes.

    Attributes:
        device: ``"cuda"`` or ``"cpu"``.
        data: CIFAR-10, as for ``falconet train --data``.
        folder: for the results, in its ``fast``, and for the runs.
    """

    device: str
    data: str
    folder: Path

    def steps(self) -> Iterator[Step]:
        """Seed by seed, with durations estimated from runs of earlier seeds.

        torch.compile is measured after the first run, before the time is over.
        """
        for seed in range(SEEDS):
            for name in AIRBENCH:
                yield self._step(name, seed)
                if (name, seed) == (COMPILED, 0):
                    both = 2 * self._seconds(COMPILED, COMPILED_EPOCHS) + COMPILE_SECONDS
                    yield Step("compile", PART, both, self.compile)

    def _step(self, name: str, seed: int) -> Step:
        missing = recipes.load(name).epochs - len(self._run(name, seed).rows())
        expected = self._seconds(name, missing)
        # Starts only if it is expected to end: uninterrupted runs give more accurate times.
        return Step(
            f"{name}-{seed}", PART, expected, partial(self.run, name, seed), minimum=expected
        )

    def _seconds(self, name: str, epochs: int) -> float:
        """Estimated from an existing run of any seed."""
        runs = [self._run(name, seed) for seed in range(SEEDS)]
        known = next((run for run in runs if run.rows()), runs[0])
        return estimate.seconds(recipes.load(name), self.device, known, epochs)

    def _run(self, name: str, seed: int) -> Run:
        return Run(self.folder / PART / "runs" / f"{name}-{seed}")

    def run(self, name: str, seed: int, seconds_left: float) -> Findings:
        """One run."""
        results, run = self.folder / PART, self._run(name, seed)
        kept(name, results)
        arguments = [name, str(seed), self.data, str(run.folder.parent), str(results)]
        log = self.folder / "logs" / f"{name}-{seed}.log"
        python("benchmarks.gpu.train_recipe", arguments, log, seconds_left)
        result = kept(name, results)
        if result is None:
            raise RuntimeError(f"expected a result of {name} in {results}")
        (measured,) = (each for each in result.runs if each.seed == seed)
        figures = {
            "recipe": name,
            "accuracy": measured.accuracy,
            "epochs": measured.epochs,
            "seconds": measured.seconds,
            "seconds_with_first_epoch": round(sum(float(row["seconds"]) for row in run.rows()), 1),
        }
        return Findings(f"{100 * measured.accuracy:.2f} % in {measured.seconds:.1f} s", figures)

    def compile(self, seconds_left: float) -> Findings:
        """Epoch times with and without torch.compile, and from how many epochs it saves time."""
        require_compiler()
        until = time.monotonic() + seconds_left
        figures: Figures = {"recipe": COMPILED, "epochs": COMPILED_EPOCHS}
        self.folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.folder) as temporary:
            for compiled in ("false", "true"):
                folder = Path(temporary, compiled)
                arguments = [COMPILED, "0", self.data, str(folder), str(folder)]
                fields = [f"epochs={COMPILED_EPOCHS}", f"compile={compiled}"]
                log = self.folder / "logs" / f"compile-{compiled}.log"
                left = until - time.monotonic()
                python("benchmarks.gpu.train_recipe", [*arguments, *fields], log, left)
                rows = Run(folder / f"{COMPILED}-0").rows()
                first, *others = [float(row["seconds"]) for row in rows]
                figures[f"compile={compiled}"] = {"first_epoch": first, "epoch": median(others)}
        epochs = saves_from(figures["compile=false"], figures["compile=true"])
        saves = "no time" if epochs is None else f"time from {epochs} epochs on"
        plain, compiled = (figures[f"compile={each}"]["epoch"] for each in ("false", "true"))
        message = (
            f"torch.compile saves {saves}; an epoch takes {compiled:.3f} s, {plain:.3f} without"
        )
        return Findings(message, {**figures, "saves_from_epochs": epochs})


def require_compiler() -> None:
    """Make sure that torch.compile can build its generated code.

    Raises:
        SkippedError: something is not installed.
    """
    missing = [] if any(map(shutil.which, ("c++", "g++", "clang++"))) else ["a C++ compiler"]
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        missing.append("Python.h")
    if missing:
        raise SkippedError(
            f"torch.compile needs {' and '.join(missing)}; on Debian: apt-get install g++ "
            "python3-dev"
        )


def saves_from(plain: Figures, compiled: Figures) -> int | None:
    """The number of epochs from which compiling saves time in total; ``None`` if it never does."""
    saved = plain["epoch"] - compiled["epoch"]
    if saved <= 0:
        return None
    cost = (compiled["first_epoch"] - compiled["epoch"]) - (plain["first_epoch"] - plain["epoch"])
    return max(1, 1 + int(cost / saved))


def airbench_table(outcomes: Iterable[Outcome]) -> str:
    """The runs and what is published in Markdown; empty if there are no runs."""
    done = [each.figures for each in outcomes if each.part == PART and "accuracy" in each.figures]
    rows = []
    for name, published in AIRBENCH.items():
        runs = [each for each in done if each["recipe"] == name]
        if runs:
            few = "" if len(runs) >= SEEDS else f", fewer than {SEEDS} runs"
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
    head = ["recipe", "accuracy, 1 view", "training time", "published recipe"]
    head += ["accuracy, 6 views", "time on one A100"]
    return (
        f"{table(head, rows)}\n\nOur recipes train for more epochs. Training time is the median "
        f"epoch time multiplied by the number of epochs. Published: {SOURCE}.\n"
    )
