"""Training with torch.compile, which takes longer than all else of a short run."""

from pathlib import Path

import pytest

from falconet.training.recipe import Recipe
from falconet.training.run import Run
from falconet.training.train import train


@pytest.mark.long
def test_a_compiled_network_learns_the_same(colors: Path, recipe: Recipe, tmp_path: Path) -> None:
    recipe = recipe.override(["epochs=2"])
    train(recipe, colors, tmp_path / "plain")
    train(recipe.override(["compile=true"]), colors, tmp_path / "compiled")
    rows = [Run(tmp_path / name).rows() for name in ("plain", "compiled")]
    for plain, compiled in zip(*rows, strict=True):
        assert float(compiled["loss"]) == pytest.approx(float(plain["loss"]), abs=0.01)
        assert float(compiled["accuracy"]) == pytest.approx(float(plain["accuracy"]), abs=0.03)
