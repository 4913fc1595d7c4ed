"""The results of recipes: read from run folders, stored beside the recipes, shown on a page."""

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from falconet.model import storage
from falconet.model.cost import Cost

from . import verdict
from .recipe import Recipe
from .run import Run, machine

FOLDER = Path(__file__).parent / "measured"


@dataclass(frozen=True)
class Measured:
    """One finished run, on the test set.

    Attributes:
        seed: of all random numbers.
        accuracy: top-1 of the weights that were kept, one view of each image, from 0 to 1.
        loss: mean cross-entropy of the same.
        images: how many there are in the test set.
        trained_on: number of training images.
        validation_accuracy: of the weights that were kept; ``None`` where nothing was held out.
        best_validation_accuracy: of any epoch.
        epochs: that were run.
        seconds: of training without evaluation: the median epoch time multiplied by the number of
            epochs, so that epochs slowed by other processes do not count.
        environment: see :func:`falconet.training.run.describe_environment`.
        late_validation_accuracy: mean and deviation over the last tenth of the epochs, of three at
            least; see :class:`falconet.training.verdict.Late`. ``None`` where nothing was held out,
            or where the run had fewer epochs.
    """

    seed: int
    accuracy: float
    loss: float
    images: int
    trained_on: int
    validation_accuracy: float | None
    best_validation_accuracy: float | None
    epochs: int
    seconds: float
    environment: dict[str, Any]
    late_validation_accuracy: list[float] | None = None

    @property
    def late(self) -> verdict.Late | None:
        """The last epochs of the run, from which its spread is computed."""
        if self.late_validation_accuracy is None:
            return None
        mean, deviation = self.late_validation_accuracy
        return verdict.Late(mean, deviation, verdict.late_epochs(self.epochs))


@dataclass(frozen=True)
class Result:
    """The result of a recipe, from one or several runs.

    Attributes:
        recipe: its name.
        changed: values of overridden fields, such as a smaller number of epochs.
        runs: one for each seed.
    """

    recipe: str
    changed: dict[str, Any]
    runs: tuple[Measured, ...]

    @property
    def epochs(self) -> int:
        """Of the longest run."""
        return max(run.epochs for run in self.runs)

    @property
    def accuracies(self) -> list[float]:
        return [run.accuracy for run in self.runs]

    @property
    def spread(self) -> verdict.Spread | None:
        """Of the last epochs on held-out images; ``None`` without these, or with too few epochs."""
        return verdict.spread(run.late for run in self.runs if run.late is not None)

    def with_runs_of(self, other: "Result | None") -> "Result":
        """Add the other's runs with other seeds, if what it changed is the same."""
        if other is None or other.changed != self.changed:
            return self
        seeds = {run.seed for run in self.runs}
        runs = [*self.runs, *(run for run in other.runs if run.seed not in seeds)]
        return replace(self, runs=tuple(sorted(runs, key=lambda run: run.seed)))

    def save(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=2) + "\n"
        storage.write(folder / f"{self.recipe}.json", text.encode())

    @classmethod
    def load(cls, recipe: str, folder: Path = FOLDER) -> "Result | None":
        """The saved result; ``None`` if the recipe has not been run.

        Raises:
            ValueError: the file is damaged.
        """
        path = folder / f"{recipe}.json"
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text())
            runs = tuple(Measured(**run) for run in content["runs"])
            return cls(content["recipe"], content["changed"], runs)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: damaged, or not the result of a recipe") from error


class Tested(NamedTuple):
    """Top-1 accuracy, mean cross-entropy, and the number of test images."""

    accuracy: float
    loss: float
    images: int


class Entry(NamedTuple):
    """A recipe, the cost of serving it, and its result if it has been run."""

    recipe: Recipe
    cost: Cost
    result: Result | None


def entries(recipes: Iterable[Recipe], folder: Path) -> list[Entry]:
    """The recipes, with the results that are kept in a folder."""
    return [Entry(recipe, recipe.cost(), Result.load(recipe.name, folder)) for recipe in recipes]


def measured(run: Run, recipe: Recipe, card: Mapping[str, Any], tested: Tested) -> Measured:
    """Combine the contents of a run folder, its weights' card, and their test results."""
    rows = run.rows()
    seconds = [float(row["seconds"]) for row in rows]
    held = [float(row["validation_accuracy"]) for row in rows if row["validation_accuracy"]]
    return Measured(
        seed=recipe.seed,
        accuracy=tested.accuracy,
        loss=round(tested.loss, 4),
        images=tested.images,
        trained_on=card["images"],
        validation_accuracy=card["validation_accuracy"],
        best_validation_accuracy=max(held, default=None),
        late_validation_accuracy=_rounded(verdict.late(held)),
        epochs=card["epochs"],
        seconds=round(statistics.median(seconds) * len(seconds), 1),
        environment=card["environment"],
    )


def _rounded(late: verdict.Late | None) -> list[float] | None:
    return None if late is None else [round(late.mean, 4), round(late.deviation, 4)]


def spread(values: list[float]) -> str:
    """Mean, standard deviation and number of accuracies, as text in percent."""
    mean = f"{100 * statistics.mean(values):.2f} %"
    if len(values) == 1:
        return mean
    return f"{mean} ± {100 * statistics.stdev(values):.2f} (n = {len(values)})"


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


COLUMNS = (
    *("recipe", "parameters", "multiply-adds", "published", "on which images, which epoch"),
    *("here", "best epoch on the test set", "last tenth of the epochs", "the same in Keras"),
    *("verdict", "epochs", "training"),
)


def table(entries: Iterable[Entry], keras: Mapping[str, verdict.Spread] | None = None) -> str:
    """All recipes as Markdown, also those that have not been run.

    Transfers are left out: their initial weights were trained on additional images.

    Args:
        entries: the recipes and their results.
        keras: the spread of the same training in Keras, for recipes where it was measured.
    """
    lines = [f"| {' | '.join(COLUMNS)} |", f"| {' | '.join(['---'] * len(COLUMNS))} |"]
    machines: list[str] = []
    for recipe, (parameters, multiply_adds), result in entries:
        if recipe.transfers:
            continue
        reference = recipe.reference
        published, protocol = "", ""
        if reference is not None:
            published = "" if reference.accuracy is None else f"{100 * reference.accuracy:.2f} %"
            protocol = reference.protocol
        here, chosen_on_test, late, training = "not run in full", "", "", ""
        in_keras = (keras or {}).get(recipe.name)
        length = str(recipe.epochs)
        if result is not None:
            here = f"**{spread(result.accuracies)}**"
            if result.changed.get("hold_out", recipe.hold_out) == "test":
                best = [run.best_validation_accuracy or 0.0 for run in result.runs]
                chosen_on_test = spread(best)
            late = str(result.spread or "")
            length = str(result.epochs)
            if "epochs" in result.changed:
                length = f"**{length}** of {recipe.epochs}"
            others = [f"{k}={v}" for k, v in result.changed.items() if k != "epochs"]
            here += "".join(f", {other}" for other in others)
            training = ", ".join(_times(result.runs, machines))
        cells = [f"`{recipe.name}`", f"{parameters:,}", f"{multiply_adds / 1e6:.1f} M", published]
        cells += [protocol, here, chosen_on_test, late, str(in_keras or "")]
        cells += [verdict_of(recipe, result, in_keras), length, training]
        lines.append(f"| {' | '.join(cells)} |")
    marks = [f"`{'*' * i}`" if i else "without a mark" for i in range(len(machines))]
    notes = [f"- {mark}: trained on {each}" for mark, each in zip(marks, machines, strict=True)]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _times(runs: Iterable[Measured], machines: list[str]) -> Iterator[str]:
    """Mean training time on each machine, with its mark; appends new machines."""
    times: dict[str, list[float]] = {}
    for run in runs:
        versions = f"torch {run.environment['torch']}, python {run.environment['python']}"
        times.setdefault(f"{machine(run.environment)}; {versions}", []).append(run.seconds)
    for trained_on, seconds in times.items():
        if trained_on not in machines:
            machines.append(trained_on)
        mark = "*" * machines.index(trained_on)
        yield f"{duration(statistics.mean(seconds))} {mark}".strip()


def verdict_of(recipe: Recipe, result: Result | None, keras: verdict.Spread | None = None) -> str:
    """The verdict on the published accuracy; empty if the result does not decide it.

    Only runs with the recipe's own fields, or with the publications' precision, float32, decide it.
    Ensembles have no verdict, because their accuracy is not that of their members' epochs. Recipes
    that keep the best epoch have none, because it is not one of the last.
    """
    published = None if recipe.reference is None else recipe.reference.accuracy
    if published is None or result is None or result.spread is None or recipe.snapshots:
        return ""
    if recipe.keep == "best":
        return ""
    if result.changed not in ({}, {"precision": "float32"}):
        return ""
    if recipe.epochs < verdict.SHORT_EPOCHS and result.spread.runs < verdict.SHORT_RUNS:
        return f"open: {result.spread.runs} of {verdict.SHORT_RUNS} runs"
    return verdict.verdict(published, result.spread, keras)


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
