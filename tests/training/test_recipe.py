import json
from dataclasses import replace

import pytest

from falconet.training import recipes
from falconet.training.augment import Augmentation
from falconet.training.optimizer import SGD
from falconet.training.recipe import Recipe, network_arguments
from falconet.training.recipe_file import from_json
from falconet.training.schedule import CosineRestarts


@pytest.fixture
def champion() -> Recipe:
    return recipes.load("champion")


def test_fields_are_replaced_wherever_they_belong(champion: Recipe) -> None:
    words = ["epochs=3", "learning_rate=1e-2", "widths=8,16", "flip=no", "nesterov=False"]
    changed = champion.override([*words, "size=64,48", "warm_up=0.5"])
    assert changed.epochs == 3
    assert isinstance(changed.optimizer, SGD)
    assert (changed.optimizer.learning_rate, changed.optimizer.nesterov) == (0.01, False)
    assert changed.optimizer.momentum == champion.optimizer.momentum  # type: ignore[union-attr]
    assert changed.arguments == {"widths": (8, 16)}
    assert changed.augmentation == Augmentation(flip="no", translate=4, cutout=10)
    assert changed.size == (64, 48)
    assert changed.schedule.warm_up == 0.5  # type: ignore[union-attr]
    assert set(changed.differences(champion)) == {word.partition("=")[0] for word in words} | {
        "size",
        "warm_up",
    }


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epochs", "expected FIELD=VALUE, got 'epochs'"),
        ("epoch=3", "unknown field 'epoch'; known are .*epochs.*learning_rate.*widths"),
        ("name=other", "unknown field 'name'"),
        ("optimizer=Adam", "unknown field 'optimizer'"),
        ("drops=3", "unknown field 'drops'"),  # of another schedule
        ("epochs=3.5", "epochs: expected int, got '3.5'"),
        ("nesterov=maybe", "nesterov: expected true or false, got 'maybe'"),
        ("flip=often", "flip: expected one of no, random, alternating, got 'often'"),
        ("widths=8,wide", "widths: expected int, got 'wide'"),
        ("size=32", "size: expected 2 values, got '32'"),
        ("learning_rate=fast", "learning_rate: expected float, got 'fast'"),
        ("epochs=0", "expected epochs and batch_size from 1"),
        ("keep=best", "expected images to be held out for keep=best and patience"),
        ("patience=3", "expected images to be held out"),
        ("cutout=33", r"expected cutout and translate to fit images of \(32, 32\), got 33"),
        ("snapshots=2", "expected a schedule with 2 cycles, one for each snapshot"),
    ],
)
def test_a_typo_is_an_error(champion: Recipe, assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        champion.override([assignment])


@pytest.mark.parametrize("name", recipes.names())
def test_json_holds_every_choice_and_is_read_back(name: str) -> None:
    recipe = recipes.load(name).override(["epochs=150", "seed=7"])
    content = json.loads(recipe.to_json())
    assert content["recipe"] == name
    assert content["seed"] == 7
    assert from_json(recipe.to_json(), recipes.load(name)) == recipe
    # No two parts of a recipe may have a field of the same name: one would hide the other.
    parts = [recipe.augmentation, recipe.optimizer, recipe.schedule]
    fields = [field for part in parts for field in vars(part)]
    fields += network_arguments(recipe.network)
    assert len(set(fields)) == len(fields)
    assert set(fields).isdisjoint(vars(recipe))


def test_what_contradicts_itself_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected validation=0 with hold_out=test"):
        recipes.load("elu").override(["validation=5000"])
    honest = recipes.load("elu").override(["validation=5000", "hold_out=stratified"])
    assert honest.protocol == "the last epoch"
    with pytest.raises(ValueError, match="expected compile=false with int8"):
        recipes.load("small_int8").override(["compile=true"])
    with pytest.raises(ValueError, match="expected keep=last and patience=0 with snapshots"):
        recipes.load("wrn_se").override(["snapshots=3"])
    with pytest.raises(ValueError, match=r"expected a dropout for each of \(32, 64\)"):
        recipes.load("vgg3_final").override(["widths=32,64"]).build(10)
    with pytest.raises(ValueError, match="at least 28x28, got 20x24"):
        recipes.load("lenet").override(["size=20,24"]).build(10)


def test_json_of_another_version_is_refused(champion: Recipe) -> None:
    text = champion.to_json().replace('"cutout"', '"cutoff"')
    with pytest.raises(ValueError, match=r"champion had other fields .*: cutoff, cutout"):
        from_json(text, champion)


def test_json_of_an_earlier_version_lacks_fields(champion: Recipe) -> None:
    """Which are what they were without: a recipe that has another value is another one."""
    content = json.loads(champion.to_json())
    for name in ("resize", "random_crop", "backbone_rate"):
        del content[name]
    assert from_json(json.dumps(content), champion) == champion
    cropped = champion.override(["random_crop=0.5", "resize=40"])
    assert from_json(json.dumps(content), cropped) == champion
    steps = recipes.load("wrn_se")
    assert from_json(steps.to_json(), steps) == steps


def test_a_network_gets_only_what_it_takes(champion: Recipe) -> None:
    with pytest.raises(ValueError, match="ConvNet takes widths, pairs, strided, not depth"):
        replace(champion, arguments={"depth": 3})


def test_snapshots_are_at_the_ends_of_cycles() -> None:
    recipe = recipes.load("snapshots")
    assert recipe.schedule == CosineRestarts(10, 2)
    assert recipe.snapshot_epochs == [30, 70, 150]
    assert recipe.cost().parameters == 3 * recipes.load("wrn_tuned").cost().parameters
