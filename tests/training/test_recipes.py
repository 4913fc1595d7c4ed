"""Every recipe: its network is the published one, and learns."""

import json
import re
from collections.abc import Hashable
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
import torch

from falconet.model.export import export
from falconet.model.registry import NETWORKS
from falconet.model.weights import PRETRAINED, Weights
from falconet.training import recipes
from falconet.training.recipe import Recipe
from falconet.training.recipe_file import from_json
from falconet.training.recipes import ours
from falconet.training.run import Run
from falconet.training.schedule import CosineRestarts, Steps
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
        ours = recipe.name.startswith(("fast", "champion", "small", "transfer"))
        assert (recipe.reference is None) == ours, recipe.name
        if recipe.reference is not None:
            assert recipe.reference.source
            assert recipe.reference.protocol
            assert recipe.reference.accuracy is None or 0.5 < recipe.reference.accuracy < 1


# What a recipe says that it assumes, with the field that has to agree.
ASSUMED = {
    r"batch of (\d+)": "batch_size",
    r"rate of ([\de.-]+)": "learning_rate",
    r"^momentum of ([\d.]+)": "momentum",
    r"decay of ([\de.-]+)": "weight_decay",
    r"dropout of ([\d.]+)": "dropout",
    r"patience of (\d+)": "patience",
    r"(\d+) layers": "depth",
    r"width (\d+)": "width",
    r"^(\d+) epochs": "epochs",
    r"up to (\d+) pixels": "translate",
    r"Beta\(([\d.]+)": "cutmix",
    r"which ([\d,]+) images are held": "validation",
}


def test_assumptions_are_those_of_the_recipe() -> None:
    """A recipe that replaces another one's fields does not keep its assumptions about them."""
    seen = set()
    for recipe in recipes.load_all():
        choices = recipe.choices()
        for words in recipe.assumed:
            for pattern, field in ASSUMED.items():
                if found := re.search(pattern, words):
                    number = float(found[1].replace(",", ""))
                    assert choices[field][1] == pytest.approx(number), (recipe.name, words)
                    seen.add(field)
        text = "; ".join(recipe.assumed)
        assert not recipe.augmentation.cutmix or not recipe.assumed or "one box a batch" in text
        if "Deep Learning CA1" in (recipe.reference.source if recipe.reference else ""):
            assert ("best epoch" in text) == (recipe.keep == "best"), recipe.name
            assert ("patience" in text) == bool(recipe.patience), recipe.name
            assert ("Nesterov" in text) == choices["nesterov"][1], recipe.name
            snapshots = ", ".join(map(str, recipe.snapshot_epochs)).replace(", 150", " and 150")
            assert ("snapshots after" in text) == bool(recipe.snapshots), recipe.name
            assert snapshots in text
    assert seen == set(ASSUMED.values())


def test_layers_of_publications_have_the_defaults_of_keras() -> None:
    """All of them were made with it. Its batch norms keep 0.99 of their mean, ours 1 - 0.99."""
    for recipe in recipes.load_all():
        if recipe.reference is None:
            continue
        torch.manual_seed(0)
        for module in recipe.build(10)[0].modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                assert (module.eps, module.momentum) == (1e-3, 0.01), recipe.name
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                weight = module.weight
                area = weight[0, 0].numel() if weight.ndim == 4 else 1
                limit = (6 / (area * sum(weight.shape[:2]))) ** 0.5  # Glorot-uniform
                assert 0.9 * limit < weight.abs().max() <= limit, recipe.name
                assert module.bias is None or not module.bias.any(), recipe.name


@pytest.mark.parametrize("name", ["vgg10", "wrn_mish"])
def test_networks_of_earlier_runs_keep_the_norms_of_pytorch(name: str) -> None:
    """Their recipes and their weights state none; Keras' would give them other answers."""
    recipe = recipes.load(name)
    content = json.loads(recipe.to_json())
    assert (content.pop("norm_eps"), content.pop("norm_momentum")) == (1e-3, 0.01)
    resumed, _ = from_json(json.dumps(content), recipe).build(10)
    own = {k: v for k, v in recipe.arguments.items() if not k.startswith("norm_")}
    for network in (resumed, NETWORKS[recipe.network.__name__](**own, classes=10)):
        norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert len(norms) > 9
        assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-5, 0.1)}


def test_the_included_weights_are_of_a_recipe_that_exists() -> None:
    """With these fields. A field that came later has its default, so that it changes nothing."""
    content = json.loads(Weights.load(PRETRAINED).card["recipe"])
    recipe = recipes.load(content.pop("recipe"))
    assert content.pop("network") == recipe.network.__name__
    now = json.loads(recipe.to_json())
    assert content == {name: now[name] for name in content}
    later = recipe.choices().keys() - content.keys()
    defaults: dict[str, object] = {}
    for owner in (recipe, *(getattr(recipe, item.name) for item in fields(recipe))):
        if is_dataclass(owner):
            defaults |= {item.name: item.default for item in fields(owner)}
    assert {name: recipe.choices()[name][1] for name in later} == {
        name: defaults[name] for name in later
    }


def test_an_unknown_recipe_is_named() -> None:
    with pytest.raises(ValueError, match="unknown recipe 'slow'; there are: champion, elu"):
        recipes.load("slow")


def test_two_recipes_cannot_have_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "RECIPES", (*ours.RECIPES, recipes.load("lenet")))
    with pytest.raises(ValueError, match=r"there is a recipe 'lenet' already; choose another"):
        recipes.load_all()


# Networks that take long, or images that are larger than they need.
SMALLER = {
    "Backbone": ["backbone=timm:test_resnet", "size=32,32"],
    "ConvNet": ["widths=16,24,32", "size=16,16"],
    "Vgg": ["size=16,16"],
    "Vgg10": ["widths=16,16,32,32,32"],
    "EluNet": ["size=16,16"],
    "WideResNet": ["depth=10", "width=1", "size=16,16"],
}


def short(recipe: Recipe) -> Recipe:
    """The same recipe on 60 images for three epochs, at a rate for batches of ten."""
    words = ["epochs=3", "batch_size=10", "per_class=20", "precision=float32"]
    words += ["hold_out=stratified", "validation=30"]
    # At 0.1 logits grow into the hundreds, where float32 has no fourth decimal place to compare.
    words += [f"learning_rate={min(recipe.optimizer.learning_rate, 0.02)}"]
    if isinstance(recipe.schedule, CosineRestarts):
        words += ["first_cycle=1", "growth=1", "patience=0"]
    if isinstance(recipe.schedule, Steps) and recipe.schedule.drops:
        words += ["drops=2", "multiples=0.5"]
    return recipe.override([*words, *SMALLER.get(recipe.network.__name__, [])])


def kind(recipe: Recipe) -> tuple[Hashable, ...]:
    """What a recipe does, and not how much: each choice, of a number only whether it is zero."""
    choices = short(recipe).choices()
    parts = [recipe.network, type(recipe.optimizer), type(recipe.schedule)]
    switches = (
        v if isinstance(v, str) else bool(v) for name, (_, v) in choices.items() if name != "seed"
    )
    return (*parts, *switches)


KINDS: dict[tuple[Hashable, ...], list[Recipe]] = {}
for each in recipes.load_all():
    KINDS.setdefault(kind(each), []).append(each)
VARIANTS = [(alike[0], variant) for alike in KINDS.values() for variant in alike[1:]]


@pytest.mark.parametrize("name", [alike[0].name for alike in KINDS.values()])
def test_each_kind_of_recipe_learns_and_exports(name: str, colors: Path, tmp_path: Path) -> None:
    recipe = recipes.load(name)
    teacher = None
    if recipe.teacher:
        train(short(recipes.load(recipe.teacher)), colors, tmp_path / "teacher")
        teacher = tmp_path / "teacher" / "weights.pt"
    # Of another width, but for the first layer: any weights are something to begin with.
    init_from = teacher if recipe.begins_with else None
    train(short(recipe), colors, tmp_path / "run", init_from=init_from, teacher=teacher)
    rows = Run(tmp_path / "run").rows()
    assert len(rows) == 3
    losses = [float(row["loss"]) for row in rows]
    # What a teacher says after three epochs is not much to learn.
    assert recipe.teacher or min(losses[1:]) < losses[0]
    parity = export(Weights.load(tmp_path / "run" / "weights.pt"), tmp_path / "exported")
    assert parity.images >= 30


@pytest.mark.parametrize(
    ("name", "learns"), [(variant.name, first.name) for first, variant in VARIANTS]
)
def test_a_variant_is_made_alike_takes_a_step_and_exports(
    name: str, learns: str, colors: Path, tmp_path: Path
) -> None:
    """It differs in numbers alone from a recipe of which the test before shows that it learns."""
    recipe, other = short(recipes.load(name)), short(recipes.load(learns))
    assert all(
        isinstance(value, int | float | tuple) for value in recipe.differences(other).values()
    )
    torch.manual_seed(recipe.seed)
    before, like = recipe.build(3)[0], other.build(3)[0]
    assert {type(m) for m in before.modules()} == {type(m) for m in like.modules()}
    groups = [
        made.optimizer.build(net).param_groups for made, net in ((recipe, before), (other, like))
    ]
    assert [group.keys() for group in groups[0]] == [group.keys() for group in groups[1]]

    weights = train(recipe.override(["epochs=1", "batch_size=60"]), colors, tmp_path / "run")
    assert weights is not None
    for (parameter, old), new in zip(
        before.named_parameters(), weights.network.parameters(), strict=True
    ):
        assert old.requires_grad != torch.equal(old, new), parameter
    parity = export(Weights.load(tmp_path / "run" / "weights.pt"), tmp_path / "exported")
    assert parity.images >= 30


def test_bfloat16_learns_as_well(colors: Path, tmp_path: Path) -> None:
    """What recipes have by default, and the other tests have not: many CPUs take long for it."""
    recipe = recipes.load("lenet")
    assert recipe.precision == "bfloat16"
    train(short(recipe).override(["precision=bfloat16"]), colors, tmp_path)
    losses = [float(row["loss"]) for row in Run(tmp_path).rows()]
    assert losses[2] < losses[1] < losses[0]


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
