import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from falconet.handler.decode import decode as decode_served
from falconet.training import data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 5)):
        for label, name in enumerate(("zebra", "ant", "cow")):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (8, 6 + label, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
            (tmp_path / split / name / "notes.txt").write_text("not a picture")
    return tmp_path


def test_a_folder_per_class(folder: Path) -> None:
    train = data.load(folder, "train")
    assert train.classes == ("ant", "cow", "zebra")
    assert len(train.pictures) == len(train.labels) == 60
    for picture, label in zip(train.pictures, train.labels, strict=True):
        assert isinstance(picture, Path)
        assert picture.parent.name == train.classes[label]
    assert len(data.load(folder, "test").pictures) == 15


def test_an_empty_class_is_an_error(folder: Path) -> None:
    (folder / "train" / "bee").mkdir()
    with pytest.raises(FileNotFoundError, match=r"bee: expected pictures \(\.bmp"):
        data.load(folder, "train")


def test_a_folder_without_classes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(FileNotFoundError, match="expected a folder of pictures for each class"):
        data.load(tmp_path, "train")


def test_training_decodes_as_the_handler_does(pictures: Path) -> None:
    files = [path for path in pictures.rglob("*") if path.suffix in data.SUFFIXES]
    assert len(files) >= 25
    for path in files:
        served = decode_served(path.read_bytes(), 10**6)
        np.testing.assert_array_equal(data.decode(path), served, err_msg=str(path))


def test_training_refuses_the_depth_that_serving_refuses(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(
        ValueError, match=r"deep\.png: expected 8 bits a pixel, got Pillow's mode I;16"
    ):
        data.decode(tmp_path / "deep.png")


def test_a_damaged_picture_is_named(pictures: Path, tmp_path: Path) -> None:
    whole = (pictures / "ship.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.jpg: .*truncated"):
        data.decode(tmp_path / "half.jpg")


def test_cifar10_comes_from_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as it can be seen without a download: what is asked for, and what is made of it."""

    class Downloaded:
        def __init__(self, root: Path, train: bool, download: bool) -> None:
            assert (root, train, download) == (Path("data"), False, True)
            self.data = np.arange(2 * 32 * 32 * 3).reshape(2, 32, 32, 3).astype(np.uint8)
            self.targets = [3, 8]
            self.classes = ["airplane", "automobile"]

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Downloaded)
    dataset = data.load(None, "test")
    assert dataset.labels.tolist() == [3, 8]
    assert dataset.classes == ("airplane", "automobile")
    assert data.decode(dataset.pictures[1]).shape == (32, 32, 3)


def test_encoding_keeps_files_and_pixels(pictures: Path) -> None:
    path = pictures / "ship.jpg"
    assert data.encode(path) == path.read_bytes()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    encoded = Image.open(io.BytesIO(data.encode(pixels)))
    np.testing.assert_array_equal(np.asarray(encoded), pixels)


def test_every_class_is_held_out_alike() -> None:
    labels = np.repeat(np.arange(10), 500)
    training, validation = data.hold_out(labels, 500, seed=0)
    assert len(training) == 4500
    assert set(training).isdisjoint(validation)
    np.testing.assert_array_equal(np.bincount(labels[validation]), [50] * 10)
    np.testing.assert_array_equal(data.hold_out(labels, 500, seed=0)[1], validation)
    assert (data.hold_out(labels, 500, seed=1)[1] != validation).any()
    assert len(data.hold_out(labels, 0, seed=0)[0]) == 5000


def test_channel_statistics_are_over_all_pixels() -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (9, 3 + i, 3), np.uint8) for i in range(5)]
    mean, std = data.channel_statistics(pictures)
    pixels = np.concatenate([p.reshape(-1, 3) for p in pictures]) / 255
    np.testing.assert_allclose(mean, pixels.mean(0), atol=5.1e-5)
    np.testing.assert_allclose(std, pixels.std(0), atol=5.1e-5)
