"""Weights to begin with, and the images that they were trained on."""

from pathlib import Path

import pytest

from falconet.model.weights import Weights
from falconet.training.initial_weights import check_unseen
from falconet.training.recipe import Recipe
from falconet.training.selection import select
from falconet.training.train import train


@pytest.mark.parametrize(
    ("words", "differing"),
    [
        (["seed=1"], "seed=0, this recipe has seed=1"),
        (["validation=90"], "validation=60, this recipe has validation=90"),
        (["hold_out=random"], "hold_out=stratified, this recipe has hold_out=random"),
        (["seed=1", "per_class=30"], "seed=0 per_class=0, this recipe has seed=1 per_class=30"),
    ],
)
@pytest.mark.parametrize("version", ["1.0", "now"])
def test_images_held_out_were_not_trained_on_before(
    words: list[str],
    differing: str,
    version: str,
    finished: Path,
    colors: Path,
    recipe: Recipe,
    tmp_path: Path,
) -> None:
    weights = Weights.load(finished / "weights.pt")
    if version == "1.0":
        del weights.card["data"]
    path = tmp_path / "weights.pt"
    weights.save(path)
    with pytest.raises(
        ValueError, match=rf"of \d+ that they were; .* with {differing}: train both"
    ):
        train(recipe.override(words), colors, tmp_path / "run", init_from=path)
    for fine in (["validation=30"], ["per_class=30"], ["validation=0", "seed=1"]):
        check_unseen(recipe.override(fine), select(recipe.override(fine), colors), path)
    check_unseen(recipe, select(recipe, colors), path)


def test_a_teacher_was_not_trained_on_them_either(
    finished: Path, colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    student = recipe.override(["teacher=champion", "label_smoothing=0", "seed=1"])
    with pytest.raises(ValueError, match="expected weights that were not trained on the images"):
        train(student, colors, tmp_path, teacher=finished / "weights.pt")


def test_weights_of_other_images_pass(finished: Path, unsure: Path, recipe: Recipe) -> None:
    """Of the same classes, and as many."""
    other = recipe.override(["seed=1"])
    check_unseen(other, select(other, unsure), finished / "weights.pt")
