"""What recipes reached: read from run folders, kept beside the recipes, written into a page."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from .recipe import Recipe
from .run import Run

FOLDER = Path(__file__).parent / "measured"


@dataclass(frozen=True)
class Measured:
    """One finished run, on the test set.

    Attributes:
        seed: of all chance.
        accuracy: top-1 of the weights that were kept, one view of each picture, from 0 to 1.
        loss: mean cross-entropy of the same.
        pictures: how many there are in the test set.
        trained_on: how many pictures.
        validation_accuracy: of the weights that were kept; ``None`` where nothing was held out.
        best_validation_accuracy: of any epoch.
        epochs: that were run.
        seconds: of training, without evaluation: the median epoch's times their number, as epochs
            that something else disturbed say nothing.
        environment: see :func:`falconet.training.run.describe_environment`.
    """

    seed: int
    accuracy: float
    loss: float
    pictures: int
    trained_on: int
    validation_accuracy: float | None
    best_validation_accuracy: float | None
    epochs: int
    seconds: float
    environment: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What a recipe reached, in one or several runs.

    Attributes:
        recipe: its name.
        changed: choices that were not the recipe's, such as a smaller number of epochs.
        runs: one for each seed.
    """

    recipe: str
    changed: dict[str, Any]
    runs: tuple[Measured, ...]

    @property
    def epochs(self) -> int:
        """That were run, in the longest."""
        return max(run.epochs for run in self.runs)

    @property
    def accuracies(self) -> list[float]:
        return [run.accuracy for run in self.runs]

    def with_runs_of(self, other: "Result | None") -> "Result":
        """Add the other's runs with other seeds, if what it changed is the same."""
        if other is None or other.changed != self.changed:
            return self
        seeds = {run.seed for run in self.runs}
        runs = [*self.runs, *(run for run in other.runs if run.seed not in seeds)]
        return replace(self, runs=tuple(sorted(runs, key=lambda run: run.seed)))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=2) + "\n"
        (folder / f"{self.recipe}.json").write_text(text)

    @classmethod
    def load(cls, recipe: str, folder: Path = FOLDER) -> "Result | None":
        """What was saved, ``None`` where a recipe has not been run in full."""
        path = folder / f"{recipe}.json"
        if not path.exists():
            return None
        content = json.loads(path.read_text())
        runs = tuple(Measured(**run) for run in content["runs"])
        return cls(content["recipe"], content["changed"], runs)


class Point(NamedTuple):
    """A recipe in a plot; accuracies from 0 to 1, ``None`` where there is none."""

    name: str
    multiply_adds: int
    published: float | None
    here: float | None


def measured(run: Run, recipe: Recipe, accuracy: float, loss: float, pictures: int) -> Measured:
    """Put together what a run folder says, and what its weights reach on the test set."""
    from falconet.model.weights import Weights

    card = Weights.load(run.weights).card
    seconds = [float(row["seconds"]) for row in run.rows()]
    held = [float(row["validation_accuracy"]) for row in run.rows() if row["validation_accuracy"]]
    return Measured(
        seed=recipe.seed,
        accuracy=accuracy,
        loss=round(loss, 4),
        pictures=pictures,
        trained_on=card["pictures"],
        validation_accuracy=card["validation_accuracy"],
        best_validation_accuracy=max(held, default=None),
        epochs=card["epochs"],
        seconds=round(statistics.median(seconds) * len(seconds), 1),
        environment=card["environment"],
    )


def spread(values: list[float]) -> str:
    """Mean, deviation and number of some accuracies, in percent."""
    mean = f"{100 * statistics.mean(values):.2f} %"
    if len(values) == 1:
        return mean
    return f"{mean} ± {100 * statistics.stdev(values):.2f} (n = {len(values)})"


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def points(recipes: Iterable[Recipe], folder: Path) -> list[Point]:
    """The recipes, for :func:`falconet.training.plots.accuracy_by_cost`."""
    found = []
    for recipe in recipes:
        result = Result.load(recipe.name, folder)
        here = None if result is None else statistics.mean(result.accuracies)
        published = None if recipe.reference is None else recipe.reference.accuracy
        name = recipe.name
        if result is not None and "epochs" in result.changed:
            name += f", {result.epochs} epochs"
        found.append(Point(name, recipe.cost().multiply_adds, published, here))
    return found


def table(recipes: Iterable[Recipe], folder: Path) -> str:
    """All recipes as Markdown, those that have not been run among them."""
    lines = [
        "| recipe | parameters | multiply-adds | published | on which pictures, which epoch | "
        "here | best epoch on the test set | epochs | training |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    machines: list[str] = []
    for recipe in recipes:
        result = Result.load(recipe.name, folder)
        parameters, multiply_adds = recipe.cost()
        reference = recipe.reference
        published, protocol = "", ""
        if reference is not None:
            published = "" if reference.accuracy is None else f"{100 * reference.accuracy:.2f} %"
            protocol = reference.protocol
        here, chosen_on_test, length, training = "not run in full", "", str(recipe.epochs), ""
        if result is not None:
            here = f"**{spread(result.accuracies)}**"
            if result.changed.get("hold_out", recipe.hold_out) == "test":
                best = [run.best_validation_accuracy or 0.0 for run in result.runs]
                chosen_on_test = spread(best)
            length = str(result.epochs)
            if "epochs" in result.changed:
                length = f"**{length}** of {recipe.epochs}"
            others = [f"{k}={v}" for k, v in result.changed.items() if k != "epochs"]
            here += "".join(f", {other}" for other in others)
            first = result.runs[0]
            machine = (
                f"{first.environment['processor']}, {first.environment['cpu_threads']} threads"
                if first.environment["device"] == "cpu"
                else first.environment["device"]
            ) + f"; torch {first.environment['torch']}, python {first.environment['python']}"
            if machine not in machines:
                machines.append(machine)
            seconds = statistics.mean(run.seconds for run in result.runs)
            training = f"{duration(seconds)} {'*' * machines.index(machine)}".strip()
        lines.append(
            f"| `{recipe.name}` | {parameters:,} | {multiply_adds / 1e6:.1f} M | {published} | "
            f"{protocol} | {here} | {chosen_on_test} | {length} | {training} |"
        )
    notes = [f"{'*' * i}{' ' if i else ''}Trained on {name}." for i, name in enumerate(machines)]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def replace_between(path: Path, name: str, writer: str, text: str) -> None:
    """Put text between the markers of that name in a document.

    Raises:
        ValueError: it has none.
    """
    start, end = f"<!-- {name} start: written by {writer} -->\n", f"<!-- {name} end -->"
    before, found, rest = path.read_text().partition(start)
    _, marker, after = rest.partition(end)
    if not (found and marker):
        raise ValueError(f"{path}: expected the lines {start.strip()} and {end}")
    path.write_text(before + start + text + end + after)
