"""The whole loop, on a small made data set that a small network can learn."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from falconet.model.export import export
from falconet.model.weights import Weights
from falconet.training import recipes, run
from falconet.training.recipe import Recipe
from falconet.training.train import train

COLORS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy pictures of one color each, of several sizes."""
    folder = tmp_path_factory.mktemp("colors")
    random = np.random.default_rng(0)
    for name, color in COLORS.items():
        (folder / "train" / name).mkdir(parents=True)
        for i in range(80):
            noise = random.normal(0, 60, (20 + i % 5, 24, 3))
            pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "train" / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    small = ["widths=16,16,16", "size=20,24", "cutout=4", "batch_size=30", "validation=60"]
    return recipes.load("fast").override([*small, "epochs=4", "ema_decay=0.8"])


@pytest.fixture(scope="module")
def finished(folder: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("run") / "colors"
    train(recipe, folder, output)
    return output


def same(a: Weights, b: Weights) -> bool:
    states = (a.network.state_dict(), b.network.state_dict())
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_learns_and_leaves_a_run_folder(finished: Path, recipe: Recipe) -> None:
    weights = Weights.load(finished / "weights.pt")
    assert weights.card["validation_accuracy"] > 0.95  # 1 in 3 by chance
    assert weights.card["validation_pictures"] == 60
    assert weights.spec.classes == tuple(COLORS)
    assert weights.spec.size == (20, 24)
    assert (finished / "recipe.json").read_text() == recipe.to_json()
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    with (finished / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert not list(finished.glob("*.partial"))


def test_its_weights_export(finished: Path, tmp_path: Path) -> None:
    parity = export(Weights.load(finished / "weights.pt"), tmp_path)
    assert parity.pictures >= 30


class StopAt(Exception):  # noqa: N818
    pass


def test_an_interrupted_run_goes_on_to_the_same_weights(
    finished: Path, folder: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = run.Run.save_checkpoint

    def interrupt(self: run.Run, content: dict[str, object]) -> None:
        if content["epoch"] == 3:
            raise StopAt  # with the third epoch in the metrics, and not in the checkpoint
        save(self, content)

    with monkeypatch.context() as patch:
        patch.setattr(run.Run, "save_checkpoint", interrupt)
        with pytest.raises(StopAt):
            train(recipe, folder, tmp_path)
    assert not (tmp_path / "weights.pt").exists()

    resumed = train(recipe, folder, tmp_path, resume=True)
    assert same(resumed, train(recipe, folder, tmp_path / "again"))
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3", "4"]


def test_a_folder_is_not_run_in_twice(finished: Path, folder: Path, recipe: Recipe) -> None:
    with pytest.raises(FileExistsError, match="holds a run already: continue it with --resume"):
        train(recipe, folder, finished)


def test_resume_refuses_another_recipe(finished: Path, folder: Path, recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="the recipe is not the one this run began with"):
        train(recipe.override(["epochs=9"]), folder, finished, resume=True)


def test_resume_needs_a_checkpoint(folder: Path, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint to resume from"):
        train(recipe, folder, tmp_path, resume=True)


def test_a_batch_larger_than_the_data_is_an_error(
    folder: Path, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"240 pictures; .* 180 are left .* batch_size of 500"):
        train(recipe.override(["batch_size=500"]), folder, tmp_path)
    with pytest.raises(ValueError, match=r"with validation=5000 .* 0 are left"):
        train(recipe.override(["validation=5000"]), folder, tmp_path)
    # The folder is still free for a run that can be.
    train(recipe.override(["epochs=1"]), folder, tmp_path)


def test_resume_refuses_other_pictures(
    finished: Path, folder: Path, recipe: Recipe, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "colors")
    (tmp_path / "colors" / "train" / "red" / "0.png").unlink()
    with pytest.raises(ValueError, match="the pictures are not those this run began with"):
        train(recipe, tmp_path / "colors", finished, resume=True)


def test_nothing_may_be_held_out(folder: Path, recipe: Recipe, tmp_path: Path) -> None:
    weights = train(recipe.override(["validation=0", "epochs=1"]), folder, tmp_path)
    assert weights.card["validation_accuracy"] is None
    assert weights.card["pictures"] == 240
    assert len(weights.samples) > 30
