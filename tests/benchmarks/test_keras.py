"""The comparison with Keras: its arithmetic, and with Keras itself where that is installed.

``FALCONET_KERAS_PYTHON`` names the Python of an environment with ``pip install keras tensorflow-cpu
scipy``, whose requirements exclude ours.
"""

import json
import os
import subprocess
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest

from benchmarks.keras import agreement
from benchmarks.keras.__main__ import History, add_runs, histories, page, recipes_in
from falconet.training import recipes
from falconet.training.run import Run, describe_environment

PYTHON = "FALCONET_KERAS_PYTHON"
with_keras = pytest.mark.skipif(PYTHON not in os.environ, reason=f"{PYTHON} is not set")


def history(epochs: int, seed: int) -> History:
    random = np.random.default_rng(seed)
    drawn = random.uniform(0.7, 0.8, (epochs, 2))
    numbers = [{"accuracy": float(a), "validation_accuracy": float(v)} for a, v in drawn]
    return History(numbers, f"seed {seed}")


def test_one_run_answers_for_the_shorter_recipes_in_it() -> None:
    assert [each.name for each in recipes_in("episode2")] == [
        "episode2_100",
        "episode2_150",
        "episode2_200",
    ]
    runs = {"keras": [history(200, s) for s in (0, 1)], "falconet": [history(200, 9)]}
    result: dict[str, Any] = {"agreement": {}, "recipes": {}, "epochs": {}, "machine": "Some"}
    add_runs(result, "episode2", runs)
    last = [epoch["validation_accuracy"] for epoch in runs["keras"][1].epochs[90:100]]
    expected = [mean(last), stdev(last), 10]
    assert result["recipes"]["episode2_100"]["keras"][1] == pytest.approx(expected)
    first = mean(run.epochs[0]["accuracy"] for run in runs["keras"])
    shown = result["epochs"]["episode2"]["keras"]["1"]["accuracy"]
    assert shown == pytest.approx(first, abs=1e-4)
    text = page(json.loads(json.dumps(result)))
    assert f"| {100 * first:.2f} % |" in text
    assert "last tenth of 150" in text
    assert "- Keras: 200 epochs (seed 0)\n- Keras: 200 epochs (seed 1)\n- here: 200" in text


def test_a_run_that_is_shorter_than_its_recipe_has_no_end() -> None:
    runs = {"keras": [history(120, 0)], "falconet": [history(90, 1)]}
    result: dict[str, Any] = {"agreement": {}, "recipes": {}, "epochs": {}, "machine": "Some"}
    add_runs(result, "episode2", runs)
    assert len(result["recipes"]["episode2_100"]["keras"]) == 1
    assert result["recipes"]["episode2_150"]["keras"] == []
    assert "last tenth of 200" not in page(result)
    assert "| 100 | 7" in page(result)
    add_runs(result, "episode2", {**runs, "falconet": []})
    assert "| 100 | 7" in page(result)  # no run in the folder: earlier results are kept
    result["epochs"].clear()
    add_runs(result, "episode2", {**runs, "falconet": []})
    assert "| 100 |" not in page(result)  # nothing to compare


def test_all_runs_in_a_folder_count(tmp_path: Path) -> None:
    """Finished or not, with any seed."""
    row = {"accuracy": 0.5, "validation_accuracy": 0.6, "seconds": 1.0}
    for seed, count in ((0, 2), (3, 1)):
        folder = tmp_path / "keras" / f"elu-{seed}"
        folder.mkdir(parents=True)
        (folder / "epochs.jsonl").write_text(f"{json.dumps(row)}\n" * count)
        (folder / "environments.json").write_text('[{"keras": "3", "device": "gpu"}]')
    other = Run(tmp_path / "elu-2")
    run = Run(tmp_path / "elu-1")
    for each, fields in ((run, ["seed=1"]), (other, ["seed=2", "per_class=10"])):
        each.folder.mkdir()
        each.recipe.write_text(recipes.load("elu").override(fields).to_json())
        each.log({"epoch": 1, **row})
    environment = {**describe_environment(), "device": "NVIDIA H200"}
    run.environment_file.write_text(json.dumps(environment))
    found = histories("elu", tmp_path)
    assert [len(each.epochs) for each in found["keras"]] == [2, 1]
    assert found["keras"][0].about == "keras 3, device gpu"
    (ours,) = found["falconet"]
    assert ours.epochs == [{"accuracy": 0.5, "validation_accuracy": 0.6}]
    assert ours.about.startswith("bfloat16, NVIDIA H200")


@with_keras
@pytest.mark.parametrize("network", agreement.RECIPES)
def test_both_sides_have_the_same_settings_and_first_steps(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = Path(os.environ[PYTHON])
    theirs, ours = agreement.keras_settings(python, network), agreement.our_settings(network)
    for name, value in ours.items():
        # The weights at the start are drawn; a layer of few has a few percent of chance.
        rel = 0.05 if name.startswith("deviation") else 1e-6
        expected = value if isinstance(value, str) else pytest.approx(value, rel=rel)
        assert theirs[name] == expected, name
    monkeypatch.setattr(agreement, "STEPS", 3)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (3 * 64, 32, 32, 3), dtype=np.uint8)
    found = agreement.first_steps(python, network, pixels, random.integers(0, 10, 3 * 64))
    # With shallow's rate, which changes each step, the momentum differs.
    assert found["losses"] < 1e-6
    assert found["transformed images"] < 1e-4
    assert found["transformed in batches"] < 1e-4


@with_keras
def test_training_in_keras_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part in ("train", "held"):
        arrays[f"{part}_x"] = random.integers(0, 256, (192, 32, 32, 3), dtype=np.uint8)
        arrays[f"{part}_y"] = random.integers(0, 10, 192)
    np.savez(tmp_path / "images.npz", **arrays)

    def run(folder: str, epochs: int) -> list[dict[str, Any]]:
        command = [os.environ[PYTHON], str(agreement.SOURCE), "train", "elu", "--seed", "3"]
        command += ["--images", str(tmp_path / "images.npz"), "--epochs", str(epochs)]
        subprocess.run([*command, "--output", str(tmp_path / folder)], check=True)
        lines = (tmp_path / folder / "epochs.jsonl").read_text().splitlines()
        return [{**json.loads(line), "seconds": None} for line in lines]

    whole = run("whole", 2)
    run("parts", 1)
    with (tmp_path / "parts" / "epochs.jsonl").open("a") as log:
        log.write('{"epoch": 2, "lo')  # a line of an epoch that the checkpoint does not have
    assert run("parts", 2) == whole
