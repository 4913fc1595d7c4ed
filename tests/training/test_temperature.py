"""Temperatures: fitted on the images held out, and stored without other changes."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from falconet.cli.main import main
from falconet.model.weights import Weights
from falconet.training import data
from falconet.training.evaluate import answers
from falconet.training.recipe import Recipe
from falconet.training.run import Run
from falconet.training.temperature import Fitted, TemperatureError, fit, held_out


def test_a_temperature_that_can_be_computed() -> None:
    """Of two classes that are always 3 apart, the best one is right for 4 of 5 images."""
    logits = torch.tensor([[3.0, 0.0]]).repeat(50, 1)
    labels = (torch.arange(50) % 5 == 0).long()
    assert fit(logits, labels) == pytest.approx(3 / math.log(4), abs=1e-4)


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_it_has_the_least_cross_entropy(true: float) -> None:
    random = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2000, 7, generator=random)
    labels = (logits / true).softmax(1).multinomial(1, generator=random)[:, 0]
    found = fit(logits, labels)
    assert found == pytest.approx(true, rel=0.1)
    inverse = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([inverse], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(logits.double() * inverse, labels)
        value.backward()
        return value

    optimizer.step(loss)
    assert found == pytest.approx(1 / inverse.item(), rel=1e-3)
    fitted = Fitted.on(logits, labels)
    assert (fitted.temperature, fitted.images) == (found, 2000)
    assert fitted.loss[1] <= fitted.loss[0]
    assert fitted.calibration_error[1] < 0.05


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 0], "all 3 images held out are classified right, .*: hold more images out"),
        ([1, 0, 1], "on the 3 images held out the network is no better than chance"),
    ],
)
def test_no_temperature_fits(labels: list[int], message: str) -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 1.0]])
    with pytest.raises(TemperatureError, match=message):
        fit(logits, torch.tensor(labels))


def test_it_is_fitted_on_the_images_that_training_held_out(
    unsure: Path, unsure_run: Path, recipe: Recipe
) -> None:
    dataset = held_out(Run(unsure_run), recipe, unsure)
    assert len(dataset.labels) == len(set(dataset.images)) == 60
    assert all(path.is_relative_to(unsure / "train") for path in dataset.images)
    assert [path.parent.name for path in dataset.images] == [
        dataset.classes[label] for label in dataset.labels
    ]
    # The accuracy that training has found on them, and the images that it has kept of them.
    weights = Weights.load(unsure_run / "weights.pt")
    pixels, logits = answers(weights, dataset)
    right = (logits.argmax(1).numpy() == dataset.labels).mean()
    assert right == pytest.approx(weights.card["validation_accuracy"], abs=0.02)
    for kept, held in zip(weights.samples, pixels, strict=True):
        np.testing.assert_array_equal(kept, held)


def test_nothing_held_out(unsure: Path, unsure_run: Path, recipe: Recipe) -> None:
    for changes in ({"validation": 0}, {"validation": 0, "hold_out": "test"}):
        with pytest.raises(TemperatureError, match="no training images were held out; train with"):
            held_out(Run(unsure_run), replace(recipe, **changes), unsure)


def test_other_images_are_refused(colors: Path, unsure_run: Path, recipe: Recipe) -> None:
    with pytest.raises(TemperatureError, match="the images are not those this run began with"):
        held_out(Run(unsure_run), recipe, colors)


def test_a_temperature_is_stored_and_changes_nothing_else(
    unsure: Path, unsure_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(unsure_run, folder)
    words = ["temperature", str(folder), "--data", str(unsure), "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    before, after = (Weights.load(each / "weights.pt") for each in (unsure_run, folder))
    assert found["images"] == 60
    assert found["temperature"] == after.spec.temperature != 1
    assert found["loss"][1] < found["loss"][0]
    assert replace(after.spec, temperature=1.0) == before.spec
    assert after.card == before.card
    for name, value in before.network.state_dict().items():
        assert torch.equal(value, after.network.state_dict()[name])
    dataset = data.load_test(unsure, before.spec.classes)
    (_, first), (_, second) = (answers(each, dataset) for each in (before, after))
    assert torch.equal(first, second)
    again = CliRunner().invoke(main, words[:-1])
    assert f"temperature {after.spec.temperature:g}, fitted on 60 images held out" in again.output
    assert Weights.load(folder / "weights.pt").spec == after.spec
