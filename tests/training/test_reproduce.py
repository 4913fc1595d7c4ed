import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from falconet.model.weights import Weights
from falconet.training import recipes, results, verdict
from falconet.training import train as training
from falconet.training.recipe import Recipe
from falconet.training.reproduce import reproduce
from falconet.training.run import Run
from falconet.training.schedule import Steps


def test_each_seed_is_run_once_and_tested_once(
    colors: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = recipe.override(["epochs=2"])
    found = reproduce(short, recipe, colors, tmp_path, seeds=2)
    assert [run.seed for run in found.runs] == [0, 1]
    assert found.changed == {"epochs": 2}
    for run in found.runs:
        assert (run.images, run.trained_on, run.epochs) == (60, 180, 2)
        assert run.accuracy > 0.5
        assert run.seconds > 0
        assert run.best_validation_accuracy is not None

    def never(*_: object, **__: object) -> Weights:
        raise AssertionError("trained again")

    monkeypatch.setattr("falconet.training.reproduce.train", never)
    assert reproduce(short, recipe, colors, tmp_path, seeds=2) == found
    # Another length in the same folder would be passed off as this one.
    with pytest.raises(ValueError, match="the recipe is not the one"):
        reproduce(recipe, recipe, colors, tmp_path, seeds=1)


def test_other_test_images_are_refused(colors: Path, recipe: Recipe, tmp_path: Path) -> None:
    short = recipe.override(["epochs=1"])
    reproduce(short, recipe, colors, tmp_path / "runs", seeds=1)
    shutil.copytree(colors, tmp_path / "colors")
    (tmp_path / "colors" / "test" / "red" / "0.png").unlink()
    with pytest.raises(ValueError, match="the test images are not those this run was tested on"):
        reproduce(short, recipe, tmp_path / "colors", tmp_path / "runs", seeds=1)


def test_it_runs_in_one_process(
    colors: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="falconet reproduce runs in one process"):
        reproduce(recipe, recipe, colors, tmp_path, seeds=1)


def test_what_was_begun_is_resumed(
    colors: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)

    def stop(row: training.Row) -> None:
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(recipe, colors, tmp_path / "champion-0", on_epoch=stop)
    found = reproduce(recipe, recipe, colors, tmp_path, seeds=1)
    assert found.runs[0].epochs == 4
    whole = training.train(recipe, colors, tmp_path / "whole")
    assert found.runs[0].validation_accuracy == whole.card["validation_accuracy"]


def test_a_longer_recipe_goes_on_with_a_shorter_one(
    colors: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constant = replace(recipe, schedule=Steps())
    longer = replace(constant, name="longer", epochs=6, after="champion")
    monkeypatch.setattr(recipes, "load", {"champion": constant, "longer": longer}.__getitem__)
    words = ["label_smoothing=0.0"]
    found = reproduce(longer.override(words), longer, colors, tmp_path, seeds=1).runs[0]
    assert found.epochs == 6
    assert len(Run(tmp_path / "champion-0").rows()) == 4
    # The shorter one is a run of its own, changed likewise, and the longer is as if run in one.
    assert reproduce(constant.override(words), constant, colors, tmp_path, seeds=1).changed
    whole = training.train(longer.override(words), colors, tmp_path / "whole")
    assert found.validation_accuracy == whole.card["validation_accuracy"]
    one, other = (
        Weights.load(tmp_path / folder / "weights.pt").network.state_dict()
        for folder in ("whole", "longer-0")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_teacher_is_trained_first_without_what_is_held_out(
    colors: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = replace(
        recipe, name="student", teacher="champion", validation=90, seed=3, label_smoothing=0
    )
    monkeypatch.setattr(recipes, "load", {"champion": recipe}.__getitem__)
    assert reproduce(student, student, colors, tmp_path, seeds=1).runs[0].trained_on == 150
    card = Weights.load(tmp_path / "champion-3" / "weights.pt").card
    assert card["validation_images"] == 90


def test_results_survive_a_file_and_make_a_table(tmp_path: Path) -> None:
    environment = {
        "device": "cpu",
        "processor": "Some",
        "cpu_threads": 2,
        "torch": "2",
        "python": "3",
    }
    one = results.Measured(
        0, 0.8, 0.5, 10000, 50000, 0.81, 0.85, 10, 300.0, environment, [0.8, 0.01]
    )
    result = results.Result("vgg1", {"epochs": 10}, (one, replace(one, seed=1, accuracy=0.9)))
    result.save(tmp_path)
    assert results.Result.load("vgg1", tmp_path) == result
    assert results.Result.load("vgg2", tmp_path) is None
    # One more seed does not lose the others; other choices are another result.
    third = results.Result("vgg1", {"epochs": 10}, (replace(one, seed=2), replace(one, loss=0.4)))
    assert [run.seed for run in third.with_runs_of(result).runs] == [0, 1, 2]
    assert third.with_runs_of(result).runs[0].loss == 0.4
    assert replace(third, changed={}).with_runs_of(result).runs == third.runs
    changed = {"validation": 5000, "hold_out": "stratified"}
    replace(result, recipe="vgg3", changed=changed).save(tmp_path)
    table = results.table(results.entries([recipes.load(f"vgg{n}") for n in (1, 2, 3)], tmp_path))
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    assert rows[0][0] == "| `vgg1`"
    assert "**85.00 % ± 7.07 (n = 2)**" in rows[0]
    assert "78.21 to 81.79 % (n = 2)" in rows[0]  # two runs alike have 0.89, not 1.00
    assert "85.00 % ± 0.00 (n = 2)" in rows[0]  # the best epoch on the test set
    assert "**10** of 100" in rows[0]
    assert "not run in full" in rows[1]
    # Its best epoch was not one on the test set, and what was changed is said.
    assert "**85.00 % ± 7.07 (n = 2)**, validation=5000, hold_out=stratified" in rows[2]
    assert "85.00 % ± 0.00 (n = 2)" not in rows[2]
    assert "- without a mark: trained on Some, 2 threads; torch 2, python 3\n" in table


def test_the_times_of_other_machines_are_apart(tmp_path: Path) -> None:
    place = {"processor": "Some", "cpu_threads": 2, "torch": "2", "python": "3"}
    cpu = results.Measured(
        0, 0.8, 0.5, 10000, 50000, 0.81, 0.85, 100, 300.0, {**place, "device": "cpu"}
    )
    gpu = replace(cpu, seed=1, seconds=20.0, environment={**place, "device": "A GPU"})
    runs = (cpu, gpu, replace(gpu, seed=2, seconds=40.0))
    results.Result("vgg1", {}, runs).save(tmp_path)
    table = results.table(results.entries([recipes.load("vgg1")], tmp_path))
    assert "| 100 | 5 min, 30 s * |" in table
    assert "- without a mark: trained on Some, 2 threads;" in table
    assert "- `*`: trained on A GPU;" in table


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- x start: written by me -->\nold\n<!-- x end -->\nafter\n")
    results.replace_between(page, "x", "me", "new\n")
    assert page.read_text() == (
        "before\n<!-- x start: written by me -->\nnew\n<!-- x end -->\nafter\n"
    )
    with pytest.raises(ValueError, match="expected the lines <!-- y start: written by me -->"):
        results.replace_between(page, "y", "me", "new\n")


def test_the_page_shows_what_is_kept(repository: Path) -> None:
    """Nobody has typed a number into it."""
    page = (repository / "docs" / "training.md").read_text()
    keras = verdict.keras_spreads(repository / "benchmarks" / "results" / "keras.json")
    assert results.table(results.entries(recipes.load_all(), results.FOLDER), keras) in page


def test_a_recipe_begins_with_the_weights_of_another(
    colors: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = replace(recipe, name="then", epochs=1, begins_with="champion")
    monkeypatch.setattr(recipes, "load", {"champion": recipe, "then": then}.__getitem__)
    with pytest.raises(ValueError, match="begins with the weights of champion: train that"):
        training.train(then, colors, tmp_path / "alone")
    found = reproduce(then, then, colors, tmp_path, seeds=1).runs[0]
    first = tmp_path / "champion-0" / "weights.pt"
    whole = training.train(then, colors, tmp_path / "whole", init_from=first)
    assert found.validation_accuracy == whole.card["validation_accuracy"]
    assert whole.card["init_from"] == "weights.pt"
