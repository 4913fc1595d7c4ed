import csv
from pathlib import Path

import pytest

from falconet.training import recipes
from falconet.training.recipe import Recipe
from falconet.training.tune import Choice, Range, parse, tune


def test_ranges_and_choices_are_read(recipe: Recipe) -> None:
    words = ["learning_rate=0.01..1", "epochs=2..9", "flip=no|random", "cutout=0|4"]
    assert parse(words, recipe) == [
        Range("learning_rate", 0.01, 1.0, whole=False),
        Range("epochs", 2, 9, whole=True),
        Choice("flip", ("no", "random")),
        Choice("cutout", ("0", "4")),
    ]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("rate=1..2", "unknown field 'rate'"),
        ("epochs=9..2", r"epochs: expected a range like 0\.1\.\.1 .*, got '9\.\.2'"),
        ("epochs=1.5..3", "epochs: expected a range"),
        ("flip=no..random", "flip: expected a range"),
        ("flip=no|never", "flip: expected one of no, random"),
    ],
)
def test_what_cannot_be_searched_is_named(recipe: Recipe, word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse([word], recipe)


def test_a_recipe_may_name_its_own_space() -> None:
    recipe = recipes.load("wrn_tuned")
    assert [item.name for item in parse(recipe.space, recipe)] == [
        "learning_rate",
        "weight_decay",
        "dropout",
        "label_smoothing",
    ]


def test_a_search_finds_what_learns_and_goes_on(
    colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    """A rate of next to nothing against one that learns."""
    recipe = recipe.override(["epochs=2", "ema_decay=0"])
    space = parse(["learning_rate=1e-9|0.5"], recipe)
    best = tune(recipe, space, colors, tmp_path, trials=3)
    assert best["learning_rate"] in ("1e-9", "0.5")
    best = tune(recipe, space, colors, tmp_path, trials=2)
    assert best["learning_rate"] == "0.5"
    assert best["validation_accuracy"] > 0.8
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
    assert (tmp_path / "trial-4").is_dir()
    with pytest.raises(ValueError, match="holds a search of another recipe or space"):
        tune(recipe.override(["epochs=3"]), space, colors, tmp_path, trials=1)


def test_a_search_that_goes_on_draws_other_values(
    colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = recipe.override(["epochs=1"])
    space = parse(["learning_rate=0.1..1.0"], recipe)
    for _ in range(2):
        tune(recipe, space, colors, tmp_path, trials=2)
    with (tmp_path / "trials.csv").open() as file:
        values = [row["learning_rate"] for row in csv.DictReader(file)]
    assert len(set(values)) == 4


def test_nothing_is_chosen_by_the_test_set(colors: Path, recipe: Recipe, tmp_path: Path) -> None:
    space = parse(["cutout=0|4"], recipe)
    for words in (["hold_out=test", "validation=0"], ["validation=0"]):
        with pytest.raises(ValueError, match="expected images of the training set to be held"):
            tune(recipe.override(words), space, colors, tmp_path, trials=1)
