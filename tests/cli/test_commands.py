"""The commands that need no server."""

import json
import os
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from falconet.cli.main import COMMANDS, main
from falconet.model import samples as known
from falconet.model.spec import Spec
from falconet.model.weights import Weights


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def test_set(samples: list[Path], tmp_path: Path) -> Path:
    """The 16 sample images as a folder per class."""
    for path in samples:
        folder = tmp_path / "data" / "test" / path.stem.split("-")[1]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    return tmp_path / "data"


def test_help_lists_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert len(result.output.split("Options:")[0]) > 60
    # These tell what they do while they do it.
    if name not in (
        *("serve", "stop", "up", "gateway"),
        *("deploy", "undeploy", "rollback", "canary", "scale"),
        "completion",
    ):
        assert "--json" in result.output


def test_an_unknown_command_is_named() -> None:
    result = run("trian")
    assert result.exit_code == 2
    assert "trian" in result.output


def test_predict_shows_labels_probabilities_and_bars(samples: list[Path]) -> None:
    result = run("predict", samples[4])
    assert result.exit_code == 0
    assert str(samples[4].name) in result.output.replace("\n", "")
    best = next(line for line in result.output.splitlines() if "frog" in line and "%" in line)
    assert "━" * 10 in best


def test_predict_json_has_a_line_per_image(samples: list[Path], images: Path) -> None:
    result = run("predict", "--json", samples[4], images / "make.py", samples[11])
    assert result.exit_code == 1
    frog, refused, truck = map(json.loads, result.output.splitlines())
    assert frog["predictions"][0]["label"] == "frog"
    assert refused["error"]["code"] == 415
    assert refused["image"] == str(images / "make.py")
    assert truck["predictions"][0]["label"] == "truck"


def test_predict_takes_folders_lists_and_standard_input(
    samples: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for i, name in enumerate(("b.png", "more/c.png", ".hidden.png", "a.png")):
        (folder / name).write_bytes(samples[i].read_bytes())
    os.mkfifo(folder / "pipe.png")
    listed = tmp_path / "list.txt"
    listed.write_text(f"{samples[4]}\n\n{tmp_path / 'gone.png'}\n")
    command = ["predict", "--json", str(folder), "-", "--files-from", str(listed)]
    result = CliRunner().invoke(main, command, input=samples[11].read_bytes())
    assert result.exit_code == 1, result.output
    found = {each["image"]: each for each in map(json.loads, result.stdout.splitlines())}
    names = [*(str(folder / name) for name in ("a.png", "b.png", "more/c.png")), "-"]
    assert list(found) == [*names, str(samples[4]), str(tmp_path / "gone.png")]
    assert found["-"]["predictions"][0]["label"] == "truck"
    assert found[str(samples[4])]["predictions"][0]["label"] == "frog"
    gone = found[str(tmp_path / "gone.png")]["error"]
    assert gone["code"] is None
    assert "No such file" in gone["message"]

    paths = "\n".join(map(str, samples[:3]))
    listing = ["predict", "--json", "--files-from", "-"]
    result = CliRunner().invoke(main, listing, input=paths)
    assert [json.loads(line)["image"] for line in result.stdout.splitlines()] == paths.split()
    assert CliRunner().invoke(main, [*listing, "-"], input=paths).exit_code == 2
    assert CliRunner().invoke(main, ["predict"]).exit_code == 2


def test_predict_takes_a_model_or_a_server_not_both(samples: list[Path], exported: Path) -> None:
    result = run("predict", samples[0], "--model", exported, "--url", "http://x")
    assert result.exit_code == 2
    assert "expected either --model" in result.output


def test_export_archive_and_predict_agree(
    small_weights: Weights, samples: list[Path], tmp_path: Path
) -> None:
    weights, folder, mar = tmp_path / "pets.pt", tmp_path / "exported", tmp_path / "pets.mar"
    small_weights.save(weights)
    parity = json.loads(run("export", weights, "--output", folder, "--json").output)
    assert (parity["images"], parity["same_top1"]) == (4, 4)
    assert parity["max_difference"] < 1e-3

    made = json.loads(
        run("archive", folder, "--output", mar, "--workers", 2, "--version", "3", "--json").output
    )
    packed = run("archive", weights, "--output", tmp_path / "other.mar").output
    assert "exported: on 4 images the logits differ by at most" in packed
    assert (made["model"], made["version"], made["workers"]) == ("pets", "3", 2)
    answers = [
        json.loads(run("predict", "--json", samples[0], "--model", model).output)
        for model in (weights, folder, mar)
    ]
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]["predictions"]) == 3


def test_an_archive_says_what_it_is_computed_in(
    small_weights: Weights,
    samples: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In bfloat16 unless that changes classes; and `predict` computes as the archive says."""
    for module in ("network", "fastest"):  # each has the function under its own name
        monkeypatch.setattr(f"falconet.handler.{module}.fast_bfloat16", lambda: True)
    weights = tmp_path / "pets.pt"
    small_weights.save(weights)

    def packed(*options: object) -> tuple[str, dict[str, object]]:
        mar = tmp_path / "pets.mar"
        mar.unlink(missing_ok=True)
        output = run("archive", weights, "--output", mar, *options).output
        answer = run("predict", "--json", samples[0], "--model", mar).output
        return output, json.loads(answer)

    said, rounded = packed()
    assert "in bfloat16: on 4 images the logits differ" in said
    assert "served in float32" not in said
    said, exact = packed("--precision", "float32")
    assert "bfloat16" not in said
    assert exact != rounded

    monkeypatch.setattr("falconet.cli.trial.AGREEMENT", 1.1)  # more than can be
    said, answer = packed()
    assert "served in float32; --precision changes it" in said
    assert answer == exact
    said, answer = packed("--precision", "bfloat16")
    assert "served in float32" not in said
    assert answer == rounded


def test_export_says_how_the_file_compares(tmp_path: Path) -> None:
    result = run("export", "--output", tmp_path)
    assert result.exit_code == 0
    assert "on 64 images the logits differ by at most" in result.output
    assert "the top-1 class is the same on 64" in result.output


def test_evaluate_counts(test_set: Path) -> None:
    result = run("evaluate", "--data", test_set, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["images"] == 16
    assert found["right"] >= 15
    assert found["accuracy"] == found["right"] / 16
    assert f"({found['right']} of 16 images)" in run("evaluate", "--data", test_set).output


def test_evaluate_names_a_image_that_cannot_be_read(test_set: Path) -> None:
    (test_set / "test" / "cat" / "bad.png").write_bytes(b"no image")
    result = run("evaluate", "--data", test_set)
    assert result.exit_code == 1
    assert "cat/bad.png: expected an image" in "".join(result.output.splitlines())


def test_evaluate_refuses_a_test_set_of_other_classes(test_set: Path) -> None:
    (test_set / "test" / "cat").rename(test_set / "test" / "wombat")
    result = run("evaluate", "--data", test_set)
    assert result.exit_code == 1
    assert "Error: expected a test set of the model's classes, got 'wombat'" in result.output


def test_train_evaluate_and_predict_own_data(
    samples: list[Path], test_set: Path, tmp_path: Path
) -> None:
    """Not to learn much: that every step takes what the one before it leaves."""
    shutil.copytree(test_set / "test", test_set / "train")
    fields = ["epochs=2", "widths=8,8,8", "batch_size=4", "validation=0"]
    output = tmp_path / "run"
    result = run("train", "fast94", *fields, "--data", test_set, "--output", output, "--json")
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    assert made == {"folder": str(output), "seed": 0, "validation_accuracy": None}

    weights = output / "weights.pt"
    found = json.loads(run("evaluate", weights, "--data", test_set, "--json").output)
    assert found["images"] == 16
    answer = json.loads(run("predict", "--json", "--model", weights, samples[0]).output)
    assert {p["label"] for p in answer["predictions"]} <= {p.stem[3:] for p in samples}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "slow"], 2, "unknown recipe 'slow'; there are: champion"),
        (["train", "fast94", "epoch=1"], 2, "unknown field 'epoch'"),
        (["train", "fast94", "epochs=x"], 2, "epochs: expected int, got 'x'"),
        (["train", "epochs=1"], 2, "expected one RECIPE, got none"),
        (["train", "fast94", "lenet"], 2, "expected one RECIPE, got fast94 and lenet"),
        (["train", "fast94", "--data", "nowhere"], 2, "expected a folder, or cifar10 or cifar100"),
        (["train", "fast94", "--resume", "."], 2, "--resume continues a run with its own recipe"),
        (
            ["train", "--resume", "."],
            1,
            "expected the folder of a training run, but recipe.json is missing",
        ),
        (["show", "slow"], 2, "unknown recipe 'slow'; there are: champion"),
        (["reproduce", "slow", "--page", "setup.py"], 1, "unknown recipe 'slow'"),
        (["tune", "fast94", "learning_rate=1", "--data", "."], 2, "has no default ranges: add"),
        (["tune", "fast94", "epochs=2..4", "--data", "."], 1, "to be held out, to choose by"),
        (["report", "."], 1, "expected the folder of a training run"),
        (["report", ".", "."], 1, "expected the folder of a training run"),
        (["temperature", "."], 1, "expected the folder of a training run"),
        (["explore", "--recipe", "slow", "--data", "."], 2, "unknown recipe 'slow'"),
        (["archive", "--output", "x.zip"], 1, "expected a file that ends in .mar"),
        (["archive", "--workers", "-1"], 1, "workers: expected a whole number from 0"),
        (["archive", "."], 1, "expected the TorchScript file model.pt"),
        (["export", "setup.py"], 1, "setup.py: damaged, or not a file of ours"),
        (["serve", "no.mar"], 1, "no archive at no.mar; make one with: falconet archive"),
        (["predict", "no.png"], 2, "'no.png' does not exist"),
        (["predict", "setup.py", "--model", "bad.mar"], 1, "bad.mar is not an archive"),
        (["serve", "--port", "99999"], 2, "99999 is not in the range"),
        (["evaluate", "--data", "."], 1, "expected a folder with a folder for each class in it"),
    ],
)
def test_clear_errors(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("setup.py").write_text("not weights")
    Path("bad.mar").write_text("not an archive")
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.output.split())


def test_nothing_to_stop(tmp_path: Path) -> None:
    result = run("stop", "--state", tmp_path)
    assert (result.exit_code, result.output) == (0, f"no server runs with {tmp_path}\n")
    result = run("status", "--state", tmp_path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.output) == {"running": False, "ready": False, "workers": []}


class Fixed(torch.nn.Module):
    """Returns the same, whatever it is shown."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> Any:
        means = x.mean((2, 3))
        if self.kind == "pair":
            return means, means
        if self.kind == "nan":
            return means / 0 - means / 0
        if self.kind == "mixing":
            return means - x.amax() * torch.tensor([1.0, 2.0, 3.0])
        if self.kind == "steps":
            return torch.round(means * 100).long().float()
        if self.kind == "five":
            return torch.cat([means, means[:, :2]], 1)
        return means * 100


def stranger(folder: Path, kind: str, size: tuple[int, int] = (24, 24)) -> Path:
    """A model that was not made here."""
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Fixed(kind), torch.rand(1, 3, 24, 24)).save(str(folder / "model.pt"))
    Spec(size, ("red", "green", "blue")).save(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("pair", "the model returned a tuple; expected one tensor of logits"),
        ("nan", "the model returned logits that are not finite"),
        ("mixing", "depends on the others in its batch, by"),
        ("five", "the model returned (1, 5) for a batch of 1; expected one number for each of"),
    ],
)
def test_a_model_that_would_not_serve_is_not_packed(
    kind: str, message: str, tmp_path: Path
) -> None:
    mar = tmp_path / "stranger.mar"
    folder = stranger(tmp_path / kind, kind)
    result = run("archive", folder, "--output", mar)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert not mar.exists()
    if kind == "mixing":
        run("archive", folder, "--output", mar, "--batch-size", 1)
        assert mar.exists()


def test_a_model_without_gradients_is_not_packed_with_explanations(tmp_path: Path) -> None:
    mar = tmp_path / "stranger.mar"
    folders = {kind: stranger(tmp_path / kind, kind) for kind in ("good", "steps")}
    refused = run("archive", folders["steps"], "--output", mar, "--explanations")
    assert refused.exit_code == 1
    assert "does not require grad" in refused.output
    assert not mar.exists()
    assert run("archive", folders["steps"], "--output", mar).exit_code == 0
    for options in ([], ["--explanations"]):
        result = run("archive", folders["good"], "--output", mar, "--json", *options)
        assert json.loads(result.output)["explanations"] is bool(options)
        with zipfile.ZipFile(mar) as archive:
            config = yaml.safe_load(archive.read("model-config.yaml"))
        assert config["falconet"]["explanations"] is bool(options)


def test_a_model_without_images_is_tried_on_made_ones(tmp_path: Path) -> None:
    folder, mar = stranger(tmp_path / "good", "good"), tmp_path / "good.mar"
    said = " ".join(run("archive", folder, "--output", mar).output.split())
    assert f"no sample images: put some into {folder}/samples" in said
    with zipfile.ZipFile(mar) as archive:
        made = known.from_json(json.loads(archive.read("samples.json")))
    assert made
    assert all(each.made and each.label in ("red", "green", "blue") for each in made)
    (folder / "samples").mkdir()
    for i, color in enumerate([(200, 9, 9), (9, 200, 9)]):
        Image.new("RGB", (40, 30), color).save(folder / "samples" / f"{i}.png")
    (folder / "samples" / "notes.txt").write_text("no image")
    assert "no sample images" not in run("archive", folder, "--output", mar).output
    with zipfile.ZipFile(mar) as archive:
        own = known.from_json(json.loads(archive.read("samples.json")))
    assert [(each.label, each.made) for each in own] == [("red", False), ("green", False)]
