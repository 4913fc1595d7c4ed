import dataclasses
import json

import pytest

from falconet.training import recipes
from falconet.training.recipe import Recipe


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_loads_under_its_name(name: str) -> None:
    recipe = recipes.load(name)
    assert recipe.name == name
    assert recipe.about


def test_an_unknown_recipe_is_named() -> None:
    with pytest.raises(ValueError, match="unknown recipe 'slow'; there are: fast"):
        recipes.load("slow")


def test_fields_are_replaced_by_type() -> None:
    recipe = recipes.load("fast")
    changed = recipe.override(["epochs=3", "learning_rate=1e-2", "widths=8,16", "flip=false"])
    assert (changed.epochs, changed.learning_rate) == (3, 0.01)
    assert (changed.widths, changed.flip) == ((8, 16), False)
    assert dataclasses.replace(
        recipe, epochs=3, learning_rate=0.01, widths=(8, 16), flip=False
    ) == (changed)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epochs", "expected FIELD=VALUE, got 'epochs'"),
        ("epoch=3", "unknown field 'epoch'; known are .*epochs"),
        ("name=other", "unknown field 'name'"),
        ("epochs=3.5", "epochs: expected int, got '3.5'"),
        ("flip=maybe", "flip: expected true or false, got 'maybe'"),
        ("widths=8,wide", "widths: expected int, got 'wide'"),
        ("learning_rate=fast", "learning_rate: expected float, got 'fast'"),
        ("epochs=0", "expected epochs and batch_size from 1"),
    ],
)
def test_a_typo_is_an_error(assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipes.load("fast").override([assignment])


def test_json_holds_every_field() -> None:
    recipe = recipes.load("fast")
    assert json.loads(recipe.to_json()).keys() == {f.name for f in dataclasses.fields(Recipe)}
