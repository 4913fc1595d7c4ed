"""Every recipe: its network is the published one, and learns."""

from pathlib import Path

import pytest
import torch

from falconet.model.export import export
from falconet.model.weights import Weights
from falconet.training import recipes
from falconet.training.run import Run
from falconet.training.train import train

# Parameters as Keras counts them, running means of batch norms among them, and multiply-adds; from
# the publications' summaries, or worked out from their layers by hand.
PUBLISHED = {
    "vgg1": (2_175_914, 12.5e6),
    "vgg2": (1_182_762, 25.6e6),
    "vgg3": (879_914, 39.2e6),
    "vgg3_final": (552_874, 38.9e6),
    "episode2_100": (257_978, 10.5e6),
    "elu": (309_290, 38.7e6),
    "shallow": (2_131_434, 17.1e6),
    "lenet": (92_246, 1.04e6),
}
# The paper's count for WRN-16-8, in trained parameters.
WIDE = (10_961_370, 1.55e9)


@pytest.mark.parametrize(("name", "figures"), PUBLISHED.items())
def test_the_network_is_the_published_one(name: str, figures: tuple[int, float]) -> None:
    recipe = recipes.load(name)
    network, _ = recipe.build(10)
    running = sum(v.numel() for n, v in network.named_buffers() if "running" in n)
    cost = recipe.cost()
    assert cost.parameters + running == figures[0]
    assert cost.multiply_adds == pytest.approx(figures[1], rel=0.005)


def test_the_wide_one_too() -> None:
    cost = recipes.load("wrn").cost()
    assert cost.parameters == WIDE[0]
    assert cost.multiply_adds == pytest.approx(WIDE[1], rel=0.005)


def test_the_champion_keeps_to_its_budget() -> None:
    assert recipes.load("champion").cost().multiply_adds <= 120e6


def test_published_figures_have_a_source() -> None:
    for recipe in recipes.load_all():
        ours = recipe.name.startswith(("fast", "champion"))
        assert (recipe.reference is None) == ours, recipe.name
        if recipe.reference is not None:
            assert recipe.reference.source
            assert recipe.reference.protocol
            assert recipe.reference.accuracy is None or 0.5 < recipe.reference.accuracy < 1


def test_an_unknown_recipe_is_named() -> None:
    with pytest.raises(ValueError, match="unknown recipe 'slow'; there are: champion, elu"):
        recipes.load("slow")


@pytest.mark.parametrize("name", recipes.names())
def test_a_short_run_learns_and_exports(name: str, colors: Path, tmp_path: Path) -> None:
    recipe = recipes.load(name)
    words = ["epochs=3", "batch_size=30", "hold_out=stratified", "validation=60"]
    known = recipe.choices()
    if "first_cycle" in known:
        words += ["first_cycle=1", "growth=1", "patience=0"]
    if "depth" in known:
        words += ["depth=10", "width=2"]
    if recipe.per_class:
        words.append("per_class=60")
    train(recipe.override(words), colors, tmp_path / "run")
    rows = Run(tmp_path / "run").rows()
    assert len(rows) == 3
    losses = [float(row["loss"]) for row in rows]
    assert min(losses[1:]) < losses[0]
    parity = export(Weights.load(tmp_path / "run" / "weights.pt"), tmp_path / "exported")
    assert parity.pictures >= 30


def test_mish_is_what_the_paper_says() -> None:
    network, _ = recipes.load("wrn_mish").build(10)
    activation = next(m for m in network.modules() if isinstance(m, torch.nn.Mish))
    x = torch.linspace(-5, 5, 101)
    torch.testing.assert_close(activation(x), x * torch.tanh(torch.log1p(x.exp())))


def test_norms_of_the_shallow_network_are_limited() -> None:
    network, _ = recipes.load("shallow").build(10)
    layer = next(m for m in network.modules() if type(m).__name__ == "MaxNormLinear")
    with torch.no_grad():
        layer.weight.mul_(100)  # type: ignore[operator, union-attr]
    network.train()
    network(torch.rand(2, 3, 32, 32))
    norms = layer.weight.norm(dim=1)  # type: ignore[operator, union-attr]
    torch.testing.assert_close(norms, torch.full_like(norms, 3.0))
