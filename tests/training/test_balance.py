"""Classes with few images, or without images in one part."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from falconet.training import data, evaluate, recipes
from falconet.training.balance import balanced_loss, check_classes, class_weights
from falconet.training.recipe import Recipe
from falconet.training.train import train

CLASSES = ("cat", "lynx", "owl")


def labels(*counts: int) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_even_classes_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    check_classes(CLASSES, labels(30, 10, 20), labels(3, 1, 2), balanced=False)
    check_classes(CLASSES, labels(10, 10, 10), labels(), balanced=False)
    assert said(capsys) == ""


def test_uneven_classes_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    check_classes(CLASSES, labels(1600, 50, 90), labels(), balanced=False)
    expected = "uneven: 1,600 images of cat to train on, 50 of lynx; balanced=true makes each"
    assert expected in said(capsys)
    check_classes(CLASSES, labels(1600, 50, 90), labels(), balanced=True)
    assert said(capsys) == ""


def test_a_class_without_images_held_out_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    check_classes(CLASSES, labels(3, 2, 1), labels(2), balanced=False)
    assert "no image of lynx, owl is held out: the validation accuracy does not" in said(capsys)


def test_a_class_without_images_to_train_on_is_an_error() -> None:
    with pytest.raises(ValueError, match="images of each class to train on, got none of owl: make"):
        check_classes(CLASSES, labels(3, 2), labels(1, 1, 1), balanced=False)


def test_weights_make_classes_count_alike() -> None:
    weights = class_weights(labels(60, 20, 10), 3)
    torch.testing.assert_close(weights, torch.tensor([0.5, 1.5, 3.0]))
    torch.testing.assert_close(class_weights(labels(7, 7), 2), torch.ones(2))


def test_an_empty_class_says_what_to_do(colors: Path, tmp_path: Path) -> None:
    shutil.copytree(colors, tmp_path / "colors")
    (tmp_path / "colors" / "train" / "yellow").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"yellow: expected images .*: put some there, or delete the folder"
    ):
        data.load(tmp_path / "colors", "train")


@pytest.mark.parametrize("how", ["empty", "none"])
def test_a_class_may_be_missing_from_the_test_set(
    colors: Path, tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(colors, tmp_path / "colors")
    gone = tmp_path / "colors" / "test" / "blue"
    shutil.rmtree(gone)
    if how == "empty":
        gone.mkdir()
    found = data.load_test(tmp_path / "colors", ("blue", "green", "red"))
    assert "the test set has no images of blue: its accuracy does not cover them" in said(capsys)
    assert found.classes == ("blue", "green", "red")
    assert {(Path(p).parent.name, n) for p, n in zip(found.images, found.labels, strict=True)} == {
        ("green", 1),
        ("red", 2),
    }


@pytest.mark.parametrize("mixed", [False, True])
def test_each_class_has_the_same_share_of_the_loss(mixed: bool) -> None:
    """Over an epoch of small batches, of which most have no image of the rare class."""
    every = torch.from_numpy(labels(45, 12, 3))
    weight = class_weights(every.numpy(), 3)
    torch.manual_seed(0)
    share = torch.zeros(3)
    for batch in every[torch.randperm(60)].split(4):
        logits = torch.zeros(4, 3, requires_grad=True)
        target = torch.nn.functional.one_hot(batch, 3).float() if mixed else batch
        balanced_loss(logits, target, weight).backward()
        assert logits.grad is not None
        share.index_add_(0, batch, logits.grad.abs().sum(1))
    torch.testing.assert_close(share, share.mean().expand(3))


@pytest.fixture(scope="session")
def rare(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four red images beside 80 of each other class."""
    folder = tmp_path_factory.mktemp("rare") / "colors"
    shutil.copytree(colors, folder)
    for path in sorted((folder / "train" / "red").iterdir())[4:]:
        path.unlink()
    return folder


def test_a_rare_class_is_learned_where_classes_are_balanced(
    rare: Path, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = {}
    for balanced in ("false", "true"):
        words = ["validation=0", f"balanced={balanced}", "epochs=3", "learning_rate=0.1"]
        weights = train(recipe.override(words), rare, tmp_path / balanced)
        assert ("the classes are uneven: 80 images" in said(capsys)) == (balanced == "false")
        test = data.load_test(rare, ("blue", "green", "red"))
        assert weights is not None
        _, logits = evaluate.answers(weights, test)
        right[balanced] = int((logits.argmax(1).numpy() == 2)[test.labels == 2].sum())
    assert right["true"] > right["false"]


def test_labels_of_a_teacher_cannot_be_balanced() -> None:
    with pytest.raises(ValueError, match="and balanced=false: its answers take the place"):
        recipes.load("small").override(["balanced=true"])
