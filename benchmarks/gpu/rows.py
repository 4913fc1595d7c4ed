"""The rows of the publications, each in a process of its own, the shortest first."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from falconet.training import recipes
from falconet.training.recipe import Recipe
from falconet.training.results import Result, spread
from falconet.training.run import Run

from .child import python
from .estimate import seconds
from .steps import Found, MissingError, Step, StoppedError

PART = "rows"
# The publications computed in float32. Of larger networks no row would fit.
FLOAT32_AT_MOST = 500e6  # multiply-adds


@dataclass(frozen=True)
class Rows:
    """The rows of all publications.

    Attributes:
        device: ``"cuda"`` or ``"cpu"``.
        data: of CIFAR-10; ``None`` where there is none.
        folder: of the results, which are left in its ``rows``, and of the runs.
    """

    device: str
    data: str | None
    folder: Path

    def steps(self) -> list[Step]:
        """One for each recipe, or for those that go on with each other.

        First come those without a result of the full length in training/measured/.
        """
        found = []
        for chain in chains([each for each in recipes.load_all() if each.reference is not None]):
            left = [each for each in chain if not self._done(each)] or chain
            length = self._seconds(left[0])
            known = all(_in_full(each) for each in chain)
            step = Step(chain[0].name, PART, length, partial(self.run, chain))
            found.append((known, length, step))
        return [step for *_, step in sorted(found, key=lambda each: each[:2])]

    def run(self, chain: Sequence[Recipe], left: float) -> Found:
        """Run the recipes, of which each goes on with the one before it."""
        if self.data is None:
            raise MissingError("expected CIFAR-10 in --data, found no such images")
        until = time.monotonic() + left
        done: Found = {}
        for recipe in chain:
            if not self._done(recipe):
                remaining = until - time.monotonic()
                if done and self._seconds(recipe) > remaining:
                    raise StoppedError(f"{', '.join(done)} done, {recipe.name} not begun")
                _train(self, recipe, remaining)
            result = self._done(recipe)
            if result is None:
                raise RuntimeError(f"expected a result of {recipe.name} in {self.results}")
            done[recipe.name] = {
                "accuracy": result.accuracies,
                "spread": str(result.spread or ""),
                "published": recipe.reference and recipe.reference.accuracy,
                "seconds": [run.seconds for run in result.runs],
                "shown": spread(result.accuracies),
            }
        return done

    @property
    def results(self) -> Path:
        return self.folder / "rows"

    def _seconds(self, recipe: Recipe) -> float:
        """Of the epochs that neither its run has had nor the one that it goes on with."""
        done = len(self._run(recipe).rows())
        if recipe.after and not done:
            before = recipes.load(recipe.after)
            done = before.epochs if self._run(before).weights.exists() else 0
        return seconds(_as_published(recipe), self.device, recipe.epochs - done)

    def _run(self, recipe: Recipe) -> Run:
        return Run(self.folder / "runs" / f"{recipe.name}-{recipe.seed}")

    def _done(self, recipe: Recipe) -> Result | None:
        result = Result.load(recipe.name, self.results)
        return result if result and recipe.seed in [run.seed for run in result.runs] else None


def _train(rows: Rows, recipe: Recipe, timeout: float) -> None:
    run = [recipe.name, str(recipe.seed), str(rows.data), str(rows.folder / "runs")]
    fields = [f"precision={_as_published(recipe).precision}"]
    log = rows.folder / "logs" / f"{recipe.name}.log"
    python("benchmarks.gpu.row", [*run, str(rows.results), *fields], log, timeout)


def chains(every: Sequence[Recipe]) -> list[list[Recipe]]:
    """Recipes that go on with each other, in order; those that do not, alone."""
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
    if recipe.cost().multiply_adds > FLOAT32_AT_MOST:
        return recipe
    return replace(recipe, precision="float32")


def _in_full(recipe: Recipe) -> bool:
    result = Result.load(recipe.name)
    return result is not None and "epochs" not in result.changed
