"""Training with torch.compile, which takes longer than all else of a short run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from falconet.model import storage
from falconet.training import recipes
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


def test_the_network_is_compiled_and_saved_by_its_own_names(
    colors: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[nn.Module] = []
    build = torch.compile

    def compiled(network: nn.Module, **options: Any) -> Any:
        given.append(network)
        return build(network, **{**options, "backend": "eager"})

    monkeypatch.setattr(torch, "compile", compiled)
    recipe = recipe.override(["epochs=1"])
    plain = train(recipe, colors, tmp_path / "plain")
    assert plain is not None
    assert not given
    train(recipe.override(["compile=true"]), colors, tmp_path / "compiled")
    assert [type(network) for network in given] == [recipes.load(recipe.name).network]
    content = storage.load(tmp_path / "compiled" / "weights.pt")
    assert not [name for name in content["state"] if "_orig_mod" in name]
    assert list(content["state"]) == list(plain.network.state_dict())
