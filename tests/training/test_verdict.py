"""The rule by which a published accuracy is reproduced."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from falconet.training import recipes
from falconet.training.recipe import Recipe
from falconet.training.results import Measured, Result, verdict_of
from falconet.training.verdict import (
    Late,
    Spread,
    keras_spreads,
    late,
    late_epochs,
    spread,
    verdict,
)

FIRST = [0.1] * 90 + [0.760, 0.770, 0.775, 0.768, 0.766, 0.771, 0.769, 0.764, 0.772, 0.755]
SECOND = [0.2] * 45 + [0.780, 0.770, 0.775, 0.774, 0.771]


def test_the_spread_is_that_of_the_last_epochs_of_all_runs() -> None:
    """Computed from each run's mean and deviation, as if from all the epochs themselves."""
    both = [late(FIRST), late(SECOND)]
    assert None not in both
    assert [each.epochs for each in both if each] == [late_epochs(100), late_epochs(50)] == [10, 5]
    found = spread(each for each in both if each)
    together = FIRST[-10:] + SECOND[-5:]
    assert found is not None
    assert found.low == pytest.approx(mean(together) - 2 * stdev(together))
    assert found.high == pytest.approx(mean(together) + 2 * stdev(together))
    assert found.runs == 2


def test_two_epochs_have_no_spread() -> None:
    assert late([0.3, 0.4]) is None
    assert spread([]) is None
    assert late([0.3, 0.4, 0.5]) == Late(pytest.approx(0.4), pytest.approx(0.1), 3)


@pytest.mark.parametrize(
    ("published", "keras", "expected"),
    [
        (0.78, None, "reproduced"),
        (0.75, None, "higher"),
        (0.81, None, "lower"),
        (0.81, Spread(0.77, 0.82, 3), "reproduced"),  # Keras reaches it, and does as we do
        (0.83, Spread(0.77, 0.82, 3), "lower, as in Keras"),
        (0.75, Spread(0.76, 0.79, 3), "higher, as in Keras"),
        # Keras does something else: it reaches the figure, and we do not.
        (0.83, Spread(0.82, 0.84, 3), "lower"),
        (0.81, Spread(0.82, 0.84, 3), "lower"),  # which lies between, and was reached by neither
    ],
)
def test_the_verdict_on_a_figure(published: float, keras: Spread | None, expected: str) -> None:
    assert verdict(published, Spread(0.76, 0.80, 3), keras) == expected


def runs_of(recipe: Recipe, center: float, count: int = 1, **changed: Any) -> Result:
    one = Measured(0, center, 0.5, 10000, 50000, center, center, recipe.epochs, 1.0, {})
    one = replace(one, late_validation_accuracy=[center, 0.005])
    return Result(recipe.name, changed, tuple(replace(one, seed=seed) for seed in range(count)))


def test_only_a_run_in_full_has_a_verdict() -> None:
    recipe = recipes.load("elu")
    assert verdict_of(recipe, runs_of(recipe, 0.895)) == "reproduced"
    assert verdict_of(recipe, runs_of(recipe, 0.895, precision="float32")) == "reproduced"
    assert verdict_of(recipe, runs_of(recipe, 0.80)) == "lower"
    assert verdict_of(recipe, runs_of(recipe, 0.80), Spread(0.79, 0.82, 3)) == "lower, as in Keras"
    assert verdict_of(recipe, runs_of(recipe, 0.895, epochs=10)) == ""
    assert verdict_of(recipe, runs_of(recipe, 0.895, learning_rate=0.1)) == ""
    assert verdict_of(recipe, None) == ""
    without = recipes.load("elu_1000")
    assert verdict_of(without, runs_of(without, 0.895)) == ""  # nothing was published
    ensemble = recipes.load("snapshots")
    assert verdict_of(ensemble, runs_of(ensemble, 0.95)) == ""


def test_a_short_run_needs_three_seeds() -> None:
    recipe = recipes.load("shallow")
    assert verdict_of(recipe, runs_of(recipe, 0.76)) == "open: 1 of 3 runs"
    assert verdict_of(recipe, runs_of(recipe, 0.76, count=3)) == "reproduced"


def test_the_spread_of_keras_is_read_from_its_result(tmp_path: Path) -> None:
    file = tmp_path / "keras.json"
    assert keras_spreads(file) == {}
    runs = {"keras": [[0.9, 0.01, 12], [0.9, 0.01, 12]], "falconet": []}
    file.write_text(json.dumps({"recipes": {"elu": runs, "none": {"keras": []}}}))
    assert keras_spreads(file) == {"elu": spread([Late(0.9, 0.01, 12)] * 2)}
