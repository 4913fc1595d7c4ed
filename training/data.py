"""Labelled pictures: CIFAR-10 from torchvision's download, or a folder per class."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from .progress import track

Pixels = npt.NDArray[np.uint8]  # (height, width, 3)
Picture = Path | Pixels  # not decoded yet, or from torchvision's download

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}
DOWNLOAD_FOLDER = Path("data")


@dataclass(frozen=True)
class Dataset:
    """Pictures with the index of each one's class."""

    pictures: Sequence[Picture]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Tells data sets apart by their classes and labels, in order."""
        return hashlib.sha256(repr(self.classes).encode() + self.labels.tobytes()).hexdigest()


def load(folder: Path | None, split: Literal["train", "test"]) -> Dataset:
    """The training or the test set.

    Args:
        folder: holds ``train/<class>/<picture>`` and ``test/<class>/<picture>``; classes are
            numbered in alphabetical order. ``None`` is CIFAR-10, downloaded into ``data/`` once.
        split: which of the two.

    Raises:
        FileNotFoundError: the folder is not laid out like this.
    """
    return _cifar10(split) if folder is None else _folder_per_class(folder / split)


def _folder_per_class(folder: Path) -> Dataset:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a folder with a folder for each class in it")
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    pictures: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = [file for file in (folder / name).iterdir() if file.suffix.lower() in SUFFIXES]
        if not files:
            raise FileNotFoundError(
                f"{folder / name}: expected pictures ({', '.join(sorted(SUFFIXES))}), found none"
            )
        pictures += sorted(files)
        labels += [label] * len(files)
    if not pictures:
        raise FileNotFoundError(f"{folder}: expected a folder of pictures for each class in it")
    return Dataset(pictures, np.array(labels), tuple(classes))


def _cifar10(split: str) -> Dataset:
    try:
        from torchvision.datasets import CIFAR10
    except ImportError as error:
        raise ModuleNotFoundError(
            "downloading CIFAR-10 needs torchvision: pip install 'falconet[training]', or name a "
            "folder of pictures with --data"
        ) from error
    try:
        dataset = CIFAR10(DOWNLOAD_FOLDER, train=split == "train", download=True)
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"CIFAR-10 could not be downloaded ({error}); name a folder of pictures with --data"
        ) from error
    return Dataset(dataset.data, np.array(dataset.targets), tuple(dataset.classes))


def decode(picture: Picture) -> Pixels:
    """The pixels of one picture, as the handler decodes it.

    Raises:
        ValueError: it is damaged, or has more than 8 bits, which serving refuses as well.
    """
    if isinstance(picture, np.ndarray):
        return picture
    try:
        with Image.open(picture) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"expected 8 bits a pixel, got Pillow's mode {image.mode}")
            image.load()
            image.info.pop("transparency", None)  # dropped, which Pillow would warn of
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{picture}: {error}") from error


def encode(picture: Picture) -> bytes:
    """The picture as a client would send it: the file as it is, pixels as PNG."""
    if isinstance(picture, Path):
        return picture.read_bytes()
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return file.getvalue()


def decode_all(dataset: Dataset) -> list[Pixels]:
    """All pictures of a data set, with a progress bar."""
    return [decode(picture) for picture in track(dataset.pictures, "decoding")]


def hold_out(
    labels: npt.NDArray[np.int64], count: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices to train on and indices to validate on.

    Every class gives the same share, so ``count`` is met up to rounding.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    share = count / len(labels)
    held = [
        members[: round(share * len(members))]
        for members in (order[labels[order] == label] for label in np.unique(labels))
    ]
    validation = np.sort(np.concatenate(held))
    return np.setdiff1d(order, validation), validation


def channel_statistics(
    pictures: Sequence[Pixels],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels, in the range 0 to 1.

    Rounded to four decimals: what nobody can see should not fill a spec.
    """
    count = 0
    total = np.zeros(3)
    squares = np.zeros(3)
    for pixels in pictures:
        values = pixels.reshape(-1, 3) / 255
        count += len(values)
        total += values.sum(0)
        squares += (values**2).sum(0)
    mean = total / count
    std = np.sqrt(squares / count - mean**2)
    return tuple(mean.round(4).tolist()), tuple(std.round(4).tolist())
