"""Training of recipes to the end, with one evaluation on the test set for each run."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from falconet.model import storage
from falconet.model.weights import Weights

from . import data, recipes
from .distributed import require_one
from .evaluate import answers, score_of
from .progress import console
from .recipe import Recipe
from .results import Measured, Result, Tested, measured
from .run import Run
from .train import train


def reproduce(
    recipe: Recipe, published: Recipe, source: Path | str, runs: Path, seeds: int
) -> Result:
    """Run a recipe for each seed. Finished runs are not repeated; interrupted runs are resumed.

    Args:
        recipe: what to run.
        published: the recipe as it is in its file; differences are recorded in the result.
        source: of the images.
        runs: folder of run folders.
        seeds: number of seeds, starting with the recipe's own.

    Raises:
        ValueError: a run folder is of another recipe, or of other images.
    """
    require_one("falconet reproduce")
    found: list[Measured] = []
    for seed in range(recipe.seed, recipe.seed + seeds):
        seeded = replace(recipe, seed=seed)
        run = Run(runs / f"{recipe.name}-{seed}")
        console.print(f"{recipe.name}, seed {seed}: {run.folder}", highlight=False)
        # With another number of epochs, the recipe does not continue the earlier recipe's run.
        if recipe.after and recipe.epochs == published.epochs and not run.recipe.exists():
            run.begin_from(train_before(seeded, published, source, runs), seeded)
        train_or_go_on(seeded, source, run, runs)
        weights = Weights.load(run.weights)
        found.append(measured(run, seeded, weights.card, test(run, weights, source)))
    changed = replace(recipe, seed=published.seed).differences(published)
    return Result(recipe.name, changed, tuple(found))


def train_before(recipe: Recipe, published: Recipe, source: Path | str, runs: Path) -> Run:
    """The finished run that a recipe continues, trained first if missing.

    It has the same seed and the same changes.
    """
    before = recipes.load(recipe.after).with_choices(recipe.differences(published))
    run = Run(runs / f"{before.name}-{before.seed}")
    train_or_go_on(before, source, run, runs)
    return run


def other_weights(recipe: Recipe, name: str, source: Path | str, runs: Path) -> Path | None:
    """The weights of a recipe's teacher or of its initial network, trained first if missing.

    They are trained with the same seed and held-out images, so that a teacher has not seen these.
    """
    if not name:
        return None
    other = replace(
        recipes.load(name),
        **{field: getattr(recipe, field) for field in ("seed", "validation", "hold_out")},
    )
    run = Run(runs / f"{other.name}-{other.seed}")
    train_or_go_on(other, source, run, runs)
    return run.weights


def train_or_go_on(recipe: Recipe, source: Path | str, run: Run, runs: Path) -> None:
    """Start a run, resume it, or do nothing if it is finished."""
    begun = run.recipe.exists()
    run.check(recipe, resume=begun)
    if not run.weights.exists():
        teacher = other_weights(recipe, recipe.teacher, source, runs)
        first = None if begun else other_weights(recipe, recipe.begins_with, source, runs)
        train(recipe, source, run.folder, resume=begun, init_from=first, teacher=teacher)


def test(run: Run, weights: Weights, source: Path | str) -> Tested:
    """Evaluate a run's weights on the test set, once.

    The result is stored in ``test.json``, and read from there the next time.

    Raises:
        ValueError: the test set is not the one that was looked at, or has other classes.
    """
    path = run.folder / "test.json"
    dataset = data.load_test(source, weights.spec.classes, weights.spec.formats)
    if not path.exists():
        _, logits = answers(weights, dataset)
        labels = torch.from_numpy(dataset.labels)
        content = {
            **score_of(logits, labels)._asdict(),
            "images": len(labels),
            "data": dataset.fingerprint,
        }
        storage.write(path, json.dumps(content).encode())
    content = json.loads(path.read_text())
    if content.pop("data") != dataset.fingerprint:
        raise ValueError(
            f"{path}: the test images are not those this run was tested on; name the same folder "
            "with --data, or another one with --runs"
        )
    return Tested(**content)
