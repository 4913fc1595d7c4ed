import io
import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from falconet.model.spec import Spec
from falconet.native import formats
from falconet.native.decode import Decoder
from falconet.native.decode import decode as decode_served
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
            (tmp_path / split / name / "notes.txt").write_text("not an image")
    return tmp_path


def test_a_folder_per_class(folder: Path) -> None:
    train = data.load(folder, "train")
    assert train.classes == ("ant", "cow", "zebra")
    assert len(train.images) == len(train.labels) == 60
    for image, label in zip(train.images, train.labels, strict=True):
        assert isinstance(image, Path)
        assert image.parent.name == train.classes[label]
    assert len(data.load(folder, "test").images) == 15


def test_an_empty_class_is_an_error(folder: Path) -> None:
    (folder / "train" / "bee").mkdir()
    with pytest.raises(FileNotFoundError, match=r"bee: expected images \(\.bmp"):
        data.load(folder, "train")


def test_a_folder_without_classes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(FileNotFoundError, match="expected a folder of images for each class"):
        data.load(tmp_path, "train")


def test_training_decodes_as_the_handler_does(images: Path) -> None:
    suffixes = formats.suffixes(formats.DEFAULT)
    files = [path for path in images.rglob("*") if path.suffix in suffixes]
    assert len(files) >= 25
    for path in files:
        served = decode_served(path.read_bytes(), 10**6)
        np.testing.assert_array_equal(data.decode(path, Decoder()), served, err_msg=str(path))


def test_training_refuses_the_depth_that_serving_refuses(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(
        ValueError, match=r"deep\.png: expected 8 bits per channel, got a grayscale"
    ):
        data.decode(tmp_path / "deep.png", Decoder())


def test_a_bomb_is_named(tmp_path: Path) -> None:
    Image.new("1", (9000, 9000)).save(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match=r"bomb\.png: expected an image of at most 50000000 pix"):
        data.decode(tmp_path / "bomb.png", Decoder())


def test_hidden_files_and_folders_are_passed_over(folder: Path) -> None:
    before = data.load(folder, "train")
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    (folder / "train" / ".ipynb_checkpoints" / "0.png").write_bytes(b"")
    (folder / "train" / "cow" / "._0.png").write_bytes(b"\0\5\x16\7")
    assert data.load(folder, "train").images == before.images
    assert data.load(folder, "train").classes == before.classes


def test_a_pipe_is_passed_over(folder: Path) -> None:
    before = data.load(folder, "train")
    os.mkfifo(folder / "train" / "cow" / "pipe.jpg")
    (folder / "train" / "cow" / "folder.jpg").mkdir()
    assert data.load(folder, "train").images == before.images


def test_a_huge_file_is_refused_unread(folder: Path) -> None:
    huge = folder / "train" / "cow" / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(50 << 30)  # takes no room
    assert huge in data.load(folder, "train").images
    with pytest.raises(
        ValueError, match=r"huge\.jpg: expected an image of at most 256 MiB, got 51"
    ):
        data.decode(huge, Decoder())
    with pytest.raises(
        ValueError, match=r"huge\.jpg: expected an image of at most 256 MiB, got 51"
    ):
        data.encode(huge)


def test_other_formats_are_read_where_they_are_allowed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (9, 7)).save(folder / "train" / "cow" / "new.avif")
    assert len(data.load(folder, "train").images) == 60
    said = " ".join(capsys.readouterr().err.split())
    assert "1 AVIF files are left out; name it in formats" in said
    allowed = (*formats.DEFAULT, "AVIF")
    dataset = data.load(folder, "train", allowed)
    assert len(dataset.images) == 61
    new = next(i for i, path in enumerate(dataset.images) if path.name == "new.avif")
    assert data.decode(dataset.images[new], Decoder(allowed)).shape == (7, 9, 3)


def test_a_damaged_image_is_named(images: Path, tmp_path: Path) -> None:
    whole = (images / "ship.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.jpg: .*truncated"):
        data.decode(tmp_path / "half.jpg", Decoder())


@pytest.mark.parametrize(("source", "name"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_downloads_come_from_torchvision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, name: str
) -> None:
    """As far as it can be seen without a download: what is asked for, and what is made of it."""

    class Downloaded:
        def __init__(self, root: Path, train: bool, download: bool) -> None:
            assert (root, train, download) == (Path("data"), False, True)
            self.data = np.arange(2 * 32 * 32 * 3).reshape(2, 32, 32, 3).astype(np.uint8)
            self.targets = [3, 8]
            self.classes = ["airplane", "automobile"]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"torchvision.datasets.{name}", Downloaded)
    dataset = data.load(source, "test")
    assert dataset.labels.tolist() == [3, 8]
    assert dataset.classes == ("airplane", "automobile")
    assert data.decode(dataset.images[1], Decoder()).shape == (32, 32, 3)


def test_a_failed_download_says_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.CIFAR100", fail)
    with pytest.raises(
        ConnectionError, match=r"cifar100 could not .* \(no route to host\).*--data"
    ):
        data.load("cifar100", "train")


def test_encoding_keeps_files_and_pixels(images: Path) -> None:
    path = images / "ship.jpg"
    assert data.encode(path) == path.read_bytes()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    encoded = Image.open(io.BytesIO(data.encode(pixels)))
    np.testing.assert_array_equal(np.asarray(encoded), pixels)


@pytest.mark.parametrize("of", ["channels", "pixels"])
def test_statistics_are_over_all_pixels(of: Literal["channels", "pixels"]) -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 100 + 30 * i, (9, 3 + i, 3), np.uint8) for i in range(5)]
    mean, std = data.statistics(images, of)
    pixels = np.concatenate([p.reshape(-1, 3) for p in images]) / 255
    axis = 0 if of == "channels" else None
    np.testing.assert_allclose(mean, np.broadcast_to(pixels.mean(axis), 3), atol=5.1e-5)
    np.testing.assert_allclose(std, np.broadcast_to(pixels.std(axis), 3), atol=5.1e-5)


def test_without_normalization_values_stay_from_0_to_1() -> None:
    mean, std = data.statistics([], "no")
    spec = Spec((2, 2), ("a", "b"), mean=mean, std=std)
    batch = spec.preprocessor()([np.full((2, 2, 3), 255, np.uint8)])
    assert batch.shape == (1, 3, 2, 2)
    assert np.unique(batch).tolist() == [1.0]
