"""Own photographs: a backbone, its preprocessing, a new head, and two learning rates."""

import json
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import timm
import torch
from click.testing import CliRunner
from PIL import Image

from falconet.cli.main import main
from falconet.model.backbone import Backbone
from falconet.model.weights import Weights
from falconet.training import prepared, recipes
from falconet.training import train as training
from falconet.training.recipe import Recipe
from falconet.training.run import Run
from falconet.training.train import train

TINY = "timm:test_resnet"
COLORS = {"leaf": (50, 160, 60), "sea": (40, 80, 190)}
FIELDS = ["size=64,64", "validation=8", "batch_size=8", "epochs=2", "precision=float32"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of several sizes, all larger than the network's."""
    folder = tmp_path_factory.mktemp("own")
    random = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 5)):
        for name, color in COLORS.items():
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                noise = random.normal(0, 40, (30, 40, 3))
                small = Image.fromarray(np.clip(np.array(color) + noise, 0, 255).astype(np.uint8))
                small.resize((320 + i, 240)).save(folder / split / name / f"{i}.jpg")
    return folder


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the backbone, as if somebody had trained it for 1,000 other classes."""
    torch.manual_seed(0)
    network = timm.create_model("test_resnet").train()
    with torch.no_grad():
        network(torch.randn(16, 3, 64, 64))  # so that its norms have statistics
    file = tmp_path_factory.mktemp("pretrained") / "test_resnet.pth"
    torch.save(network.state_dict(), file)
    return file


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return recipes.load("transfer").override([f"backbone={TINY}", *FIELDS])


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def test_photographs_are_trained_on_from_the_command_line(
    photographs: Path, pretrained: Path, tmp_path: Path
) -> None:
    """What is trained is then evaluated by the classes that serve."""
    begin = ["--init-from", TINY, "--weights", pretrained, "--cache", "100k"]
    fields = [*FIELDS, "epochs=12", "learning_rate=0.05"]
    folder = tmp_path / "run"
    run("train", *fields, *begin, "--data", photographs, "--output", folder)
    weights = Weights.load(folder / "weights.pt")
    assert weights.card["init_from"] == TINY
    config = timm.data.resolve_model_data_config(timm.create_model("test_resnet"))
    assert (weights.spec.mean, weights.spec.std) == (config["mean"], config["std"])
    assert weights.spec.filter == config["interpolation"]
    assert weights.spec.resize == round(64 / 160 * int(160 / config["crop_pct"]))
    assert weights.spec.orientation == "exif"
    assert {sample.shape for sample in weights.samples} == {(64, 64, 3)}
    assert {path.name for path in folder.iterdir()} == {
        *("checkpoint.pt", "environment.json", "metrics.csv", "recipe.json", "weights.pt")
    }
    found = json.loads(
        run("evaluate", folder / "weights.pt", "--data", photographs, "--json").stdout
    )
    assert found["accuracy"] == 1.0


def test_the_size_is_the_backbones_own_unless_given(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Recipe] = []

    def stop(recipe: Recipe, *_: object, **__: object) -> None:
        begun.append(recipe)

    monkeypatch.setattr("falconet.training.train.train", stop)
    run("train", "--init-from", TINY, "--data", photographs)
    run("train", "transfer", "size=96,128", "--init-from", TINY, "--data", photographs)
    assert [each.size for each in begun] == [(160, 160), (96, 128)]
    assert {each.arguments["backbone"] for each in begun} == {TINY}


def test_other_networks_cannot_begin_with_a_backbone(photographs: Path, pretrained: Path) -> None:
    command = ["train", "fast94", "--data", str(photographs)]
    result = CliRunner().invoke(main, [*command, "--init-from", TINY])
    assert result.exit_code != 0
    said = " ".join(result.output.split())
    assert "cannot begin with timm:test_resnet: use the recipe transfer" in said
    result = CliRunner().invoke(main, [*command, "--init-from", "resnet18"])
    assert "expected a file, or torchvision:NAME or timm:NAME, got 'resnet18'" in result.output
    result = CliRunner().invoke(main, [*command, "--weights", str(pretrained)])
    assert "expected the name of its network with --init-from" in " ".join(result.output.split())
    result = CliRunner().invoke(main, [*command, "--cache", "much"])
    assert "expected a size like 500m or 2g, got 'much'" in result.output


def test_the_file_begins_the_backbone_and_not_the_head(
    photographs: Path, pretrained: Path, recipe: Recipe, tmp_path: Path
) -> None:
    """With no rate for the backbone, its filters stay what the file has."""
    still = recipe.override(["backbone_rate=0"])
    weights = train(still, photographs, tmp_path, init_from=TINY, backbone_weights=pretrained)
    assert weights is not None
    file, fresh = torch.load(pretrained), Backbone(TINY, classes=2)
    for name, parameter in weights.network.named_parameters():
        own = name.removeprefix("network.")
        if own.startswith("fc."):
            assert not torch.equal(parameter, dict(fresh.named_parameters())[name])
        else:
            assert torch.equal(parameter, file[own]), name


class Stop(Exception):  # noqa: N818
    pass


def stop(*_: object) -> None:
    raise Stop


def test_head_and_backbone_have_rates_of_their_own(
    photographs: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, _ = recipe.build(2)
    assert isinstance(network, Backbone)
    backbone = {id(parameter) for parameter in network.backbone_parameters()}
    groups = recipe.optimizer.build(network).param_groups
    assert {group["backbone"] for group in groups} == {True, False}
    for group in groups:
        assert {id(p) in backbone for p in group["params"]} == {group["backbone"]}
    begun: list[dict[str, Any]] = []
    monkeypatch.setattr(Run, "begin", lambda *arguments: begun.append(arguments[-1]))
    monkeypatch.setattr(Run, "log", stop)
    with pytest.raises(Stop):
        train(recipe.override(["backbone_rate=0.1", "learning_rate=0.2"]), photographs, tmp_path)
    rates = {group["backbone"]: group["lr"] for group in begun[0]["optimizer"]["param_groups"]}
    assert rates == {True: pytest.approx(0.02), False: pytest.approx(0.2)}
    plain = recipes.load("champion")
    assert not any(g["backbone"] for g in plain.optimizer.build(plain.build(2)[0]).param_groups)


def test_rates_are_for_transfers_alone() -> None:
    with pytest.raises(ValueError, match="backbone_rate from 0 in a transfer, and 1 for networks"):
        recipes.load("champion").override(["backbone_rate=0.1"])
    with pytest.raises(ValueError, match="backbone_rate from 0"):
        recipes.load("transfer").override(["backbone_rate=-1"])
    with pytest.raises(ValueError, match="only a transfer has one of its own"):
        recipes.load("champion").override(["normalization=own"])


def test_random_weights_are_reported(
    photographs: Path, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(recipe.override(["epochs=1"]), photographs, tmp_path)
    said = " ".join(capsys.readouterr().err.split())
    assert f"transfer begins with random weights; --init-from {TINY} begins with publ" in said


def test_pixels_on_disk_train_to_the_same_weights(
    photographs: Path, pretrained: Path, recipe: Recipe, tmp_path: Path
) -> None:
    begin: dict[str, Any] = {"init_from": TINY, "backbone_weights": pretrained}
    one = train(recipe, photographs, tmp_path / "memory", **begin)
    other = train(recipe, photographs, tmp_path / "disk", cache=0, **begin)
    assert one is not None
    assert other is not None
    states = one.network.state_dict(), other.network.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_run_goes_on_without_the_file_it_began_with(
    photographs: Path,
    pretrained: Path,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "backbone.pth"
    shutil.copy(pretrained, file)
    begin: dict[str, Any] = {"init_from": TINY, "backbone_weights": file}
    whole = train(recipe, photographs, tmp_path / "whole", **begin)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)
    with pytest.raises(Stop):
        train(recipe, photographs, tmp_path / "run", **begin, on_epoch=stop)
    file.unlink()
    command = ["train", "--resume", tmp_path / "run", "--data", photographs, "--cache", "0"]
    found = json.loads(run(*command, "--json").stdout)
    resumed = Weights.load(tmp_path / "run" / "weights.pt")
    assert resumed.card["init_from"] == TINY
    assert found["validation_accuracy"] == resumed.card["validation_accuracy"]
    assert [row["epoch"] for row in Run(tmp_path / "run").rows()] == ["1", "2"]
    assert whole is not None
    whole.save(tmp_path / "whole.pt")  # which rounds as well
    expected = Weights.load(tmp_path / "whole.pt").network.state_dict()
    assert all(torch.equal(v, expected[n]) for n, v in resumed.network.state_dict().items())


def test_images_are_cropped_as_the_recipe_says(photographs: Path, tmp_path: Path) -> None:
    """Without a transfer: the center where images are resized, and random crops of the whole."""
    fields = ["widths=8,8,8", "size=24,24", "cutout=6", "translate=2", "validation=8", "resize=32"]
    fields += ["batch_size=8", "epochs=1", "precision=float32", "random_crop=0.5"]
    recipe = recipes.load("champion").override(fields)
    seen: list[tuple[int, ...]] = []
    prepare = prepared.prepare

    def noted(*arguments: Any) -> prepared.Prepared:
        found = prepare(*arguments)
        seen.append(tuple(found.pixels.shape))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("falconet.training.images.prepare", noted)
        weights = train(recipe, photographs, tmp_path)
    assert weights is not None
    assert (weights.spec.size, weights.spec.resize) == ((24, 24), 32)
    assert seen == [(32, 3, 32, 32), (8, 3, 24, 24), (8, 3, 24, 24)]


def test_other_weights_are_refused_before_any_image_is_decoded(
    photographs: Path, pretrained: Path, recipe: Recipe, tmp_path: Path
) -> None:
    other = recipe.override(["backbone=timm:test_vit", "size=160,160"])
    with (
        mock.patch("falconet.training.prepared.decode", side_effect=AssertionError("decoded")),
        pytest.raises(ValueError, match=r"test_resnet.pth: expected the weights of this network"),
    ):
        train(
            other,
            photographs,
            tmp_path,
            init_from="timm:test_vit",
            backbone_weights=pretrained,
        )


def test_a_search_starts_each_run_from_the_backbone(
    photographs: Path, pretrained: Path, tmp_path: Path
) -> None:
    command = ["tune", "--init-from", TINY, "--weights", pretrained, "--data", photographs]
    command += ["--trials", 2, "--output", tmp_path, "learning_rate=0.001..0.1", *FIELDS]
    result = CliRunner().invoke(main, [str(word) for word in command], catch_exceptions=False)
    last = result.stdout.splitlines()[-1]
    assert last.startswith(f"falconet train transfer --init-from {TINY} --weights {pretrained} ")
    cards = [Weights.load(tmp_path / f"trial-{i}" / "weights.pt").card for i in range(2)]
    assert [card["init_from"] for card in cards] == [TINY, TINY]
