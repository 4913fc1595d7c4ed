"""Running recipes to the end, and looking at the test set once for each."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from falconet.model.weights import Weights

from . import data
from .evaluate import Score, score
from .progress import console
from .recipe import Recipe
from .results import Measured, Result, measured
from .run import Run
from .train import train


def reproduce(
    recipe: Recipe, published: Recipe, source: Path | str, runs: Path, seeds: int
) -> Result:
    """Run a recipe for each seed; what is finished is not run again, what was begun is resumed.

    Args:
        recipe: what to run.
        published: the recipe as it is in its file; what differs is noted in the result.
        source: of the pictures.
        runs: folder of run folders.
        seeds: how many, counted from the recipe's own.
    """
    found: list[Measured] = []
    for seed in range(recipe.seed, recipe.seed + seeds):
        seeded = replace(recipe, seed=seed)
        run = Run(runs / f"{recipe.name}-{seed}")
        console.print(f"{recipe.name}, seed {seed}: {run.folder}", highlight=False)
        if run.weights.exists():
            run.check(seeded, resume=True)
        else:
            train(seeded, source, run.folder, resume=run.recipe.exists())
        tested = test(run, source)
        found.append(measured(run, seeded, *tested))
    changed = replace(recipe, seed=published.seed).differences(published)
    return Result(recipe.name, changed, tuple(found))


def test(run: Run, source: Path | str) -> tuple[float, float, int]:
    """Accuracy and loss of a run's weights on the test set, and its size; looked at once.

    In float32, as it is served. Kept in ``test.json``, and read from there the next time.
    """
    path = run.folder / "test.json"
    if not path.exists():
        weights = Weights.load(run.weights)
        dataset = data.load(source, "test")
        pixels = data.decode_all(dataset, np.arange(len(dataset.labels)))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        x = data.preprocess(weights.spec, pixels).to(device)
        y = torch.from_numpy(dataset.labels).to(device)
        found: Score = score(weights.network.to(device), x, y)
        path.write_text(json.dumps({**found._asdict(), "pictures": len(y)}) + "\n")
    content = json.loads(path.read_text())
    return content["accuracy"], content["loss"], content["pictures"]
