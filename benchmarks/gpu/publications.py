"""The recipes of the publications, each in a process of its own, the shortest first."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from falconet.training import recipes
from falconet.training.recipe import Recipe
from falconet.training.results import Result, spread
from falconet.training.run import Run

from . import estimate
from .child import python
from .steps import Figures, Findings, Step, StoppedError
from .train_recipe import kept

PART = "publications"
# The publications computed in float32, in which larger networks would not be trained in time.
FLOAT32_AT_MOST = 500e6  # multiply-adds


@dataclass(frozen=True)
class Publications:
    """The recipes of all publications.

    Attributes:
        device: ``"cuda"`` or ``"cpu"``.
        data: CIFAR-10, as for ``falconet train --data``.
        folder: for the results, in its ``publications``, and for the runs.
    """

    device: str
    data: str
    folder: Path

    def steps(self) -> list[Step]:
        """One for each chain of recipes that continue each other.

        Chains that lack a full-length result in training/measured/ come first, and among equals
        the one with the shortest remaining time.
        """
        found = []
        for chain in chains([each for each in recipes.load_all() if each.reference is not None]):
            missing = [each for each in chain if not self._result(each)]
            length = sum(map(self._seconds, missing))
            known = all(_in_full(each) for each in chain)
            step = Step(
                chain[0].name,
                PART,
                length,
                partial(self.run, chain),
                minimum=self._minimum(missing[0]) if missing else 0.0,
            )
            found.append((known, length, step))
        return [step for *_, step in sorted(found, key=lambda each: each[:2])]

    def run(self, chain: Sequence[Recipe], seconds_left: float) -> Findings:
        """Run recipes, each of which continues the one before it."""
        until = time.monotonic() + seconds_left
        figures: Figures = {}
        summary: list[str] = []
        for recipe in chain:
            if not self._result(recipe):
                left = until - time.monotonic()
                if figures and self._minimum(recipe) > left:
                    raise StoppedError(f"{'; '.join(summary)}; {recipe.name} not started")
                self._train(recipe, left)
            result = self._result(recipe)
            if result is None:
                raise RuntimeError(f"expected a result of {recipe.name} in {self.results}")
            published = None if recipe.reference is None else recipe.reference.accuracy
            figures[recipe.name] = {
                "accuracy": result.accuracies,
                "spread": str(result.spread or ""),
                "published": published,
                "seconds": [run.seconds for run in result.runs],
            }
            theirs = "" if published is None else f", published {100 * published:.2f} %"
            summary.append(f"{recipe.name} {spread(result.accuracies)}{theirs}")
        return Findings("; ".join(summary), figures)

    @property
    def results(self) -> Path:
        return self.folder / PART

    def _train(self, recipe: Recipe, seconds_left: float) -> None:
        run = [recipe.name, str(recipe.seed), self.data, str(self.folder / "runs")]
        fields = [f"precision={_as_published(recipe).precision}"]
        log = self.folder / "logs" / f"{recipe.name}.log"
        arguments = [*run, str(self.results), *fields]
        python("benchmarks.gpu.train_recipe", arguments, log, seconds_left)

    def _seconds(self, recipe: Recipe) -> float:
        """Expected seconds of epochs that neither its run has nor the run that it continues."""
        run = self._run(recipe)
        missing = recipe.epochs - len(run.rows())
        if recipe.after and not run.rows():
            missing -= recipes.load(recipe.after).epochs
        return estimate.seconds(_as_published(recipe), self.device, run, missing)

    def _minimum(self, recipe: Recipe) -> float:
        return estimate.minimum(_as_published(recipe), self.device, self._run(recipe))

    def _run(self, recipe: Recipe) -> Run:
        return Run(self.folder / "runs" / f"{recipe.name}-{recipe.seed}")

    def _result(self, recipe: Recipe) -> Result | None:
        result = kept(recipe.name, self.results)
        return result if result and recipe.seed in [run.seed for run in result.runs] else None


def chains(every: Sequence[Recipe]) -> list[list[Recipe]]:
    """Recipes grouped into chains in which each continues the one before; others alone."""
    found = {recipe.name: [recipe] for recipe in every if not recipe.after}
    rest = [recipe for recipe in every if recipe.after]
    while rest:
        for recipe in list(rest):
            for chain in found.values():
                if chain[-1].name == recipe.after:
                    chain.append(recipe)
                    rest.remove(recipe)
                    break
    return list(found.values())


def _as_published(recipe: Recipe) -> Recipe:
    """In float32, as the publications computed, unless it is too large."""
    if estimate.multiply_adds(recipe.name) > FLOAT32_AT_MOST:
        return recipe
    return replace(recipe, precision="float32")


def _in_full(recipe: Recipe) -> bool:
    result = Result.load(recipe.name)
    return result is not None and "epochs" not in result.changed
