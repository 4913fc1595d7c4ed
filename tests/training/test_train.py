"""The loop: what it leaves, how it goes on, what it refuses."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from falconet.model.ensemble import Ensemble
from falconet.model.network import ConvNet
from falconet.model.weights import Weights
from falconet.training import arithmetic, data, evaluate, recipes, run
from falconet.training import train as training
from falconet.training.initial_weights import load_matching
from falconet.training.optimizer import SGD
from falconet.training.prepared import prepare
from falconet.training.recipe import Recipe
from falconet.training.train import train


def same(a: Weights, b: Weights) -> bool:
    states = (a.network.state_dict(), b.network.state_dict())
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_learns_and_leaves_a_run_folder(finished: Path, recipe: Recipe) -> None:
    weights = Weights.load(finished / "weights.pt")
    assert weights.card["validation_accuracy"] > 0.95  # 1 in 3 by chance
    assert weights.card["validation_images"] == 60
    assert weights.card["epochs"] == 4
    assert weights.spec.classes == ("blue", "green", "red")
    assert weights.spec.size == (20, 24)
    assert (finished / "recipe.json").read_text() == recipe.to_json()
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    rows = metrics(finished)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[-1]["accuracy"]) > 0.9
    assert not list(finished.glob("*.partial"))


class StopAt(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize(
    "words", [[], ["keep=best", "patience=9"], ["ema_decay=0", "deterministic=true"]]
)
def test_an_interrupted_run_goes_on_to_the_same_weights(
    words: list[str],
    colors: Path,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = recipe.override(words)
    save = run.Run.save_checkpoint
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)

    def interrupt(self: run.Run, content: dict[str, Any]) -> None:
        if content["epoch"] == 3:
            raise StopAt  # with the third epoch in the metrics, and not in the checkpoint
        save(self, content)

    with monkeypatch.context() as patch:
        patch.setattr(run.Run, "save_checkpoint", interrupt)
        with pytest.raises(StopAt):
            train(recipe, colors, tmp_path)
    assert not (tmp_path / "weights.pt").exists()

    resumed = train(recipe, colors, tmp_path, resume=True)
    assert same(resumed, train(recipe, colors, tmp_path / "again"))
    assert [row["epoch"] for row in metrics(tmp_path)] == ["1", "2", "3", "4"]
    torch.use_deterministic_algorithms(False)


def test_gradients_are_scaled_where_float16_takes_the_place_of_bfloat16(
    colors: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU before Ampere."""
    recipe = recipe.override(["precision=bfloat16", "epochs=2"])
    monkeypatch.setattr(arithmetic, "dtype_of", lambda *_: torch.float16)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)

    def stop(row: training.Row) -> None:
        if row["epoch"] == 1:
            raise StopAt

    with pytest.raises(StopAt):
        train(recipe, colors, tmp_path, on_epoch=stop)
    scale = run.Run(tmp_path).load_checkpoint(data.load(colors, "train").fingerprint)["scaler"]
    assert scale["scale"] > 1
    assert scale["_growth_tracker"] > 0
    resumed = train(recipe, colors, tmp_path, resume=True)
    assert same(resumed, train(recipe, colors, tmp_path / "whole"))
    assert float(metrics(tmp_path)[-1]["validation_accuracy"]) > 0.5
    monkeypatch.undo()  # a scale that is a power of two leaves bfloat16 as it is
    assert not same(resumed, train(recipe, colors, tmp_path / "bfloat16"))
    exact = train(recipe.override(["precision=float32"]), colors, tmp_path / "exact")
    assert not same(resumed, exact)


@pytest.mark.parametrize("faster", ["float32", "bfloat16"])
def test_auto_is_the_faster_precision_also_after_a_resume(
    faster: str, colors: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = ConvNet.forward

    def slower(self: ConvNet, x: torch.Tensor) -> torch.Tensor:
        used = "bfloat16" if torch.is_autocast_enabled("cpu") else "float32"
        time.sleep(0 if used == faster else 0.3)
        return forward(self, x)

    def stop(row: training.Row) -> None:
        raise StopAt

    monkeypatch.setattr(arithmetic, "emulates_bfloat16", lambda device: False)
    monkeypatch.setattr(arithmetic, "_fastest", {})
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)
    recipe = recipe.override(["precision=auto", "epochs=2"])
    with monkeypatch.context() as patch:
        patch.setattr(ConvNet, "forward", slower)
        with pytest.raises(StopAt):
            train(recipe, colors, tmp_path / "auto", on_epoch=stop)
    monkeypatch.setattr(arithmetic, "precision_of", lambda recipe, *_: recipe.precision)
    resumed = train(recipe, colors, tmp_path / "auto", resume=True)
    assert resumed is not None
    assert resumed.card["precision"] == faster
    assert same(resumed, train(recipe.override([f"precision={faster}"]), colors, tmp_path / "run"))


def test_deterministic_runs_take_no_precision_by_time(recipe: Recipe) -> None:
    recipe = recipe.override(["precision=auto", "deterministic=true"])
    network = torch.nn.Linear(1, 1)  # which would not take the images
    assert arithmetic.precision_of(recipe, network, torch.device("cpu")) == "bfloat16"


def test_cpus_without_bfloat16_compute_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their emulation takes two to ten times as long."""
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx2_supported", lambda: True)
    for supported, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda found=supported: found)
        assert arithmetic.dtype_of("bfloat16", cpu) == dtype
        assert arithmetic.dtype_of("float32", cpu) == torch.float32


def test_steps_with_scaled_gradients_are_not_captured() -> None:
    """Their optimizer is not fused: a first step that is skipped would leave its momentum unset."""
    gpu = torch.device("cuda")
    assert arithmetic.captures(gpu, torch.bfloat16)
    assert arithmetic.captures(gpu, torch.float32)
    assert not arithmetic.captures(gpu, torch.float16)
    assert not arithmetic.captures(torch.device("cpu"), torch.float32)
    network = torch.nn.Linear(2, 2)
    for fused in (True, False):
        built = SGD().build(network, on_gpu=fused)
        assert built.defaults["fused"] is fused


def test_cublas_is_told_before_its_first_product() -> None:
    """At the import, for a deterministic run that comes after others in a process."""
    script = "import os, falconet.training; print(os.environ['CUBLAS_WORKSPACE_CONFIG'])"
    environment = {k: v for k, v in os.environ.items() if k != "CUBLAS_WORKSPACE_CONFIG"}
    for given, told in (({}, ":4096:8"), ({"CUBLAS_WORKSPACE_CONFIG": ":16:8"}, ":16:8")):
        command = [sys.executable, "-c", script]
        found = subprocess.run(command, env=environment | given, capture_output=True, text=True)
        assert found.stdout.strip() == told


def test_a_killed_run_goes_on_to_the_same_weights(
    colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    """SIGKILL, wherever it happens to be: once as soon as it can be resumed, once later.

    It waits before its last epoch, so as not to be finished by then.
    """
    recipe = recipe.override(["epochs=8"])
    whole = train(recipe, colors, tmp_path / "whole")
    program = (
        "import sys, time, torch; from pathlib import Path\n"
        "from falconet.training import recipes, train\n"
        "torch.set_num_threads(int(sys.argv[4]))\n"
        "train.CHECKPOINT_SECONDS = 0\n"
        "recipe = recipes.load('champion').override(sys.argv[5:])\n"
        "wait = lambda row: row['epoch'] == 7 and time.sleep(300)\n"
        "source, folder, resume = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == 'resume'\n"
        "train.train(recipe, source, folder, resume=resume, on_epoch=wait)"
    )
    words = [
        f"{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in recipe.differences(recipes.load("champion")).items()
    ]
    folder = tmp_path / "killed"
    for mode, epochs in (("begin", 0), ("resume", 4)):
        command = [sys.executable, "-W", "ignore", "-c", program, str(colors), str(folder), mode]
        command.append(str(torch.get_num_threads()))
        process = subprocess.Popen([*command, *words], stderr=subprocess.PIPE, text=True)
        try:
            deadline = time.monotonic() + 120
            while not (folder / "recipe.json").exists() or len(run.Run(folder).rows()) < epochs:
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stderr is not None
            process.stderr.close()
    assert not (folder / "weights.pt").exists()
    resumed = train(recipe, colors, folder, resume=True)
    assert same(resumed, whole)
    assert [row["epoch"] for row in metrics(folder)] == [str(i) for i in range(1, 9)]


def test_a_folder_is_not_run_in_twice(finished: Path, colors: Path, recipe: Recipe) -> None:
    with pytest.raises(FileExistsError, match="holds a run already: continue it with --resume"):
        train(recipe, colors, finished)


def test_resume_refuses_another_recipe(finished: Path, colors: Path, recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="the recipe is not the one this run began with"):
        train(recipe.override(["epochs=9"]), colors, finished, resume=True)


def test_resume_needs_a_run(colors: Path, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"folder of a training run, but recipe\.json is"):
        train(recipe, colors, tmp_path, resume=True)


def test_a_finished_run_stays_as_it_is(colors: Path, recipe: Recipe, tmp_path: Path) -> None:
    """Also one that its patience has ended, of which there would be more epochs."""
    recipe = recipe.override(["patience=2", "epochs=50", "keep=best"])
    ended = train(recipe, colors, tmp_path)
    rows = metrics(tmp_path)
    assert len(rows) < 50
    # As `falconet temperature` stores one.
    replace(ended, spec=replace(ended.spec, temperature=2.0)).save(tmp_path / "weights.pt")
    before = (tmp_path / "weights.pt").read_bytes()
    found = train(recipe, colors, tmp_path, resume=True)
    assert same(found, Weights.load(tmp_path / "weights.pt"))
    assert found.spec.temperature == 2.0
    assert (tmp_path / "weights.pt").read_bytes() == before
    assert metrics(tmp_path) == rows
    # Killed between its last checkpoint and its weights, it still gets them.
    (tmp_path / "weights.pt").unlink()
    assert same(ended, train(recipe, colors, tmp_path, resume=True))
    assert (tmp_path / "weights.pt").exists()


def test_a_damaged_checkpoint_is_named(
    finished: Path, colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(finished, folder)
    whole = (folder / "checkpoint.pt").read_bytes()
    for bytes_left in (whole[: len(whole) // 2], b"", whole[:100] + b"x" * 5000 + whole[5100:]):
        (folder / "checkpoint.pt").write_bytes(bytes_left)
        with pytest.raises(ValueError, match=r"checkpoint\.pt: damaged"):
            train(recipe, colors, folder, resume=True)


def test_a_full_disk_is_named_and_costs_nothing(
    finished: Path, colors: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as a limit on the size of files is like a full disk."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)
    size = (finished / "checkpoint.pt").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    stopped: list[int] = []

    def fill(row: dict[str, Any]) -> None:
        if row["epoch"] == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
            stopped.append(row["epoch"])

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(OSError, match=r"could not be written .*: '.*checkpoint\.pt'"):
            train(recipe, colors, tmp_path, on_epoch=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert stopped == [2]
    assert not list(tmp_path.glob("*.partial"))
    resumed = train(recipe, colors, tmp_path, resume=True)
    assert same(resumed, Weights.load(finished / "weights.pt")) or same(
        resumed, train(recipe, colors, tmp_path / "again")
    )


def test_a_broken_image_is_named(colors: Path, recipe: Recipe, tmp_path: Path) -> None:
    shutil.copytree(colors, tmp_path / "colors")
    (tmp_path / "colors" / "train" / "red" / "7.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(ValueError, match=r"red/7\.png: "):
        train(recipe, tmp_path / "colors", tmp_path / "run")


def test_an_odd_sized_image_is_resized_as_when_served(
    colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    shutil.copytree(colors, tmp_path / "colors")
    odd = np.full((1, 777, 3), 200, np.uint8)
    Image.fromarray(odd).save(tmp_path / "colors" / "train" / "red" / "odd.png")
    weights = train(recipe.override(["epochs=1"]), tmp_path / "colors", tmp_path / "run")
    assert weights.card["images"] == 181


def test_a_batch_larger_than_the_data_is_an_error(
    colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"240 images; .* 180 are left .* batch_size of 500"):
        train(recipe.override(["batch_size=500"]), colors, tmp_path)
    with pytest.raises(ValueError, match=r"with validation=5000 .* 0 are left"):
        train(recipe.override(["validation=5000"]), colors, tmp_path)
    # The folder is still free for a run that can be.
    train(recipe.override(["epochs=1"]), colors, tmp_path)


def test_resume_refuses_other_images(
    finished: Path, colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    shutil.copytree(colors, tmp_path / "colors")
    (tmp_path / "colors" / "train" / "red" / "0.png").unlink()
    with pytest.raises(ValueError, match="the images are not those this run began with"):
        train(recipe, tmp_path / "colors", finished, resume=True)


def test_resume_sees_other_pixels(
    finished: Path, colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    shutil.copytree(colors, tmp_path / "colors")
    image = tmp_path / "colors" / "train" / "red" / "0.png"
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(image)
    with pytest.raises(ValueError, match="the images are not those this run began with"):
        train(recipe, tmp_path / "colors", finished, resume=True)


def test_a_test_set_of_other_classes_is_an_error(
    colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    shutil.copytree(colors, tmp_path / "colors")
    test = tmp_path / "colors" / "test"
    shutil.copytree(test / "green", test / "apricot")
    with pytest.raises(ValueError, match="the classes blue, green, red, got also apricot"):
        train(
            recipe.override(["hold_out=test", "validation=0"]),
            tmp_path / "colors",
            tmp_path / "run",
        )


def test_nothing_may_be_held_out(colors: Path, recipe: Recipe, tmp_path: Path) -> None:
    weights = train(recipe.override(["validation=0", "epochs=1"]), colors, tmp_path)
    assert weights.card["validation_accuracy"] is None
    assert weights.card["images"] == 240
    assert len(weights.samples) > 30
    assert metrics(tmp_path)[0]["validation_accuracy"] == ""


def test_the_test_set_may_be_held_out_but_not_shipped(
    colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    weights = train(
        recipe.override(["hold_out=test", "validation=0", "epochs=1"]), colors, tmp_path
    )
    assert (weights.card["images"], weights.card["validation_images"]) == (240, 60)
    dataset = data.load(colors, "train")
    prepared = prepare(dataset, np.arange(240), weights.spec)
    images = {pixels.tobytes() for pixels in prepared.images}
    assert len(images) == 240
    assert all(pixels.tobytes() in images for pixels in weights.samples)


def test_the_best_epoch_is_kept_and_patience_ends(
    colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    words = ["keep=best", "patience=3", "epochs=60", "ema_decay=0", "learning_rate=2"]
    weights = train(recipe.override(words), colors, tmp_path)
    accuracies = [float(row["validation_accuracy"]) for row in metrics(tmp_path)]
    assert len(accuracies) < 60
    assert accuracies.index(max(accuracies)) == len(accuracies) - 4
    # In half precision, and with the rounding of bfloat16 in the loop.
    assert weights.card["validation_accuracy"] == pytest.approx(max(accuracies), abs=0.02)


def test_training_on_a_few_of_each_class(colors: Path, recipe: Recipe, tmp_path: Path) -> None:
    weights = train(recipe.override(["per_class=20", "epochs=1"]), colors, tmp_path)
    assert weights.card["images"] == 60


def test_snapshots_become_an_ensemble(colors: Path, tmp_path: Path) -> None:
    words = ["depth=10", "width=1", "first_cycle=1", "growth=1", "epochs=4", "batch_size=30"]
    words += ["validation=60", "size=16,16", "precision=float32"]
    recipe = recipes.load("snapshots").override(words)
    weights = train(recipe, colors, tmp_path)
    assert isinstance(weights.network, Ensemble)
    assert len(weights.network.members) == 3
    loaded = Weights.load(tmp_path / "weights.pt").network
    x = torch.rand(5, 3, 16, 16)
    with torch.inference_mode():
        mean = torch.stack([member(x).softmax(1) for member in loaded.members]).mean(0)  # type: ignore[union-attr]
        torch.testing.assert_close(loaded(x).softmax(1), mean)
    last = train(recipe.override(["snapshots=0"]), colors, tmp_path / "last").network
    states = [last.state_dict(), weights.network.members[2].state_dict()]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_weights_to_begin_with(
    finished: Path, colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    begun = train(
        recipe.override(["epochs=1", "learning_rate=1e-9", "ema_decay=0", "bias_rate=1"]),
        colors,
        tmp_path / "begun",
        init_from=finished / "weights.pt",
    )
    assert begun.card["validation_accuracy"] > 0.95
    with pytest.raises(ValueError, match="expected weights of the same network"):
        train(
            recipes.load("lenet").override(["batch_size=30"]),
            colors,
            tmp_path / "other",
            init_from=finished / "weights.pt",
        )


def test_weights_of_other_classes_keep_all_but_the_head(finished: Path) -> None:
    other = ConvNet((16, 16, 16), classes=7)
    trained = Weights.load(finished / "weights.pt").network
    assert load_matching(other, trained) == ["head.weight"]
    assert torch.equal(other.whiten.weight, trained.whiten.weight)  # type: ignore[union-attr]


def test_a_student_learns_from_its_teacher_and_from_no_other(
    finished: Path, colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    teacher = finished / "weights.pt"
    words = ["teacher=champion", "label_smoothing=0"]
    student = recipe.override(["widths=8,8,8", "strided=true", "ema_decay=0", *words])
    with pytest.raises(ValueError, match="learns from a network of the recipe champion: train one"):
        train(student, colors, tmp_path / "none")
    with pytest.raises(ValueError, match="has no teacher: give none"):
        train(recipe, colors, tmp_path / "needless", teacher=teacher)
    with pytest.raises(ValueError, match="expected weights of fast96, got those of champion"):
        train(student.override(["teacher=fast96"]), colors, tmp_path / "other", teacher=teacher)
    with pytest.raises(ValueError, match="the same classes, size and normalization"):
        train(student.override(["size=24,24"]), colors, tmp_path / "sizes", teacher=teacher)
    with pytest.raises(ValueError, match="expected label_smoothing=0 with a teacher"):
        student.override(["label_smoothing=0.1"])
    # Of labels it is told nothing: where they are shuffled, it learns all the same.
    shutil.copytree(colors, tmp_path / "colors")
    green, red = (tmp_path / "colors" / "train" / name for name in ("green", "red"))
    green.rename(tmp_path / "was_green")
    red.rename(green)
    (tmp_path / "was_green").rename(red)
    train(student, tmp_path / "colors", tmp_path / "run", teacher=teacher)
    assert float(metrics(tmp_path / "run")[-1]["validation_accuracy"]) < 0.5  # by the labels
    weights = Weights.load(tmp_path / "run" / "weights.pt")
    dataset = data.load(colors, "test")
    found = evaluate.answers(weights, dataset)[1]
    assert evaluate.score_of(found, torch.from_numpy(dataset.labels)).accuracy > 0.9
    train(student, tmp_path / "colors", tmp_path / "run", teacher=teacher, resume=True)
    other = Weights.load(teacher)
    other.card["images"] += 1
    other.save(tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt is not the teacher that this run began with"):
        train(
            student,
            tmp_path / "colors",
            tmp_path / "run",
            teacher=tmp_path / "other.pt",
            resume=True,
        )


def test_photographs_are_turned_as_they_will_be_when_served(
    colors: Path, recipe: Recipe, tmp_path: Path
) -> None:
    """A way to tell classes apart that is only there when images are turned."""
    random = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 10)):
        for name, orientation in (("down", 6), ("right", 1)):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            exif = Image.Exif()
            exif[0x0112] = orientation
            for i in range(count):
                # From left to right brighter: turned by 90 degrees, from top to bottom.
                pixels = random.integers(0, 60, (16, 16, 3)) + np.linspace(0, 190, 16)[:, None]
                path = tmp_path / "photos" / split / name / f"{i}.jpg"
                Image.fromarray(pixels.astype(np.uint8)).save(path, exif=exif)
    found = []
    for orientation in ("ignore", "exif"):
        words = [f"orientation={orientation}", "size=16,16", "validation=40", "batch_size=20"]
        plain = ["translate=0", "cutout=0", "flip=no", "ema_decay=0"]
        run = tmp_path / orientation
        weights = train(recipe.override([*words, *plain]), tmp_path / "photos", run)
        assert weights is not None
        assert weights.spec.orientation == orientation
        found.append(weights.card["validation_accuracy"])
    assert found[0] < 0.8
    assert found[1] > 0.95


def test_a_run_says_where_it_went_on(
    colors: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)

    def stop(row: training.Row) -> None:
        if row["epoch"] == 2:
            raise StopAt

    with pytest.raises(StopAt):
        train(recipe, colors, tmp_path / "run", on_epoch=stop)
    began = run.describe_environment()
    monkeypatch.setattr(run, "processor", lambda: "another")
    for _ in range(2):  # the second time it is over, and nothing more is noted
        weights = train(recipe, colors, tmp_path / "run", resume=True)
        assert weights is not None
        environment = weights.card["environment"]
        assert environment == {**began, "then": [{**began, "processor": "another"}]}
    assert run.machine(environment).endswith("; then on another, 1 thread")
