"""Labelled images: a folder per class, or CIFAR-10 and CIFAR-100 from torchvision's download."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from falconet.model.samples import png
from falconet.native import formats
from falconet.native.data import Pixels
from falconet.native.decode import Decoder

from .progress import console

Image = Path | Pixels  # not decoded yet, or from torchvision's download

DOWNLOADS = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}  # names in torchvision.datasets
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
DOWNLOAD_FOLDER = Path("data")
FILE_LIMIT = 256 << 20  # bytes; larger files are rejected


@dataclass(frozen=True)
class Dataset:
    """Images and their labels, which are indices into the classes."""

    images: Sequence[Image]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    @cached_property
    def fingerprint(self) -> str:
        """Hash that tells data sets apart: of classes, labels, and names and sizes of files."""
        found = hashlib.sha256(repr(self.classes).encode() + self.labels.tobytes())
        for image in self.images:
            if isinstance(image, Path):
                found.update(f"{image.name} {image.stat().st_size}".encode())
            else:
                found.update(image.tobytes())
        return found.hexdigest()


def load(
    source: Path | str,
    split: Literal["train", "test"],
    allowed: Sequence[str] = formats.DEFAULT,
) -> Dataset:
    """The training or the test set.

    Args:
        source: a folder with ``train/<class>/<image>`` and ``test/<class>/<image>``, whose
            classes are numbered in alphabetical order; or one of :data:`DOWNLOADS`, downloaded
            into ``data/`` once. Hidden files, hidden folders, pipes and devices are skipped.
        split: which of the two.
        allowed: image formats to load; see :data:`falconet.native.formats.FORMATS`.

    Raises:
        FileNotFoundError: the folder is not laid out like this.
    """
    if str(source) in DOWNLOADS and not Path(source).is_dir():
        return _download(str(source), split)
    return _folder_per_class(Path(source) / split, allowed, each=split == "train")


def load_test(
    source: Path | str, classes: tuple[str, ...], allowed: Sequence[str] = formats.DEFAULT
) -> Dataset:
    """The test set, with labels numbered as in the training set.

    Prints a warning of classes without images.

    Raises:
        FileNotFoundError: as in :func:`load`.
        ValueError: it has other classes than the training set.
    """
    dataset = load(source, "test", allowed)
    if others := sorted(set(dataset.classes) - set(classes)):
        raise ValueError(
            f"{source}: expected a test set with the classes {', '.join(classes)}, got also "
            f"{', '.join(others)}: put images of them into the training set, or take these out"
        )
    if missing := sorted(set(classes) - {dataset.classes[i] for i in set(dataset.labels)}):
        console.print(
            f"{source}: the test set has no images of {', '.join(missing)}: its accuracy does not "
            "cover them"
        )
    number = np.array([classes.index(name) for name in dataset.classes], np.int64)
    return Dataset(dataset.images, number[dataset.labels], classes)


def is_cifar10(source: Path | str) -> bool:
    """Whether the source has CIFAR-10's classes and numbers of images, in any order."""
    try:
        sets = [load(source, "train"), load(source, "test")]
    except FileNotFoundError:  # images in another format, perhaps
        return False
    return [len(s.labels) for s in sets] == [50000, 10000] and all(
        sorted(s.classes) == sorted(CIFAR10) for s in sets
    )


def _folder_per_class(folder: Path, allowed: Sequence[str], *, each: bool) -> Dataset:
    """Load a folder per class; with ``each``, none may be empty, else not all."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a folder with a folder for each class in it")
    classes = sorted(path.name for path in _visible(folder) if path.is_dir())
    suffixes, others = formats.suffixes(allowed), Counter[str]()
    images: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        listed = list(_visible(folder / name))
        images_here = (file for file in listed if file.suffix.lower() in suffixes)
        files = [file for file in images_here if file.is_file()]  # reading a pipe would wait
        others.update(file.suffix.lower() for file in listed)
        if each and not files:
            raise FileNotFoundError(
                f"{folder / name}: expected images ({', '.join(sorted(suffixes))}), found none: "
                "put some there, or delete the folder"
            )
        images += sorted(files)
        labels += [label] * len(files)
    for known in formats.FORMATS.values():
        left_out = sum(others[suffix] for suffix in known.suffixes)
        if left_out and known.name not in allowed:
            console.print(
                f"{folder}: {left_out} {known.name} files are left out; name it in formats"
            )
    if not images:
        raise FileNotFoundError(f"{folder}: expected a folder of images for each class in it")
    return Dataset(images, np.array(labels), tuple(classes))


def _visible(folder: Path) -> Iterator[Path]:
    """Entries that are not hidden, unlike ``._cat.jpg`` and ``.ipynb_checkpoints``."""
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _download(name: str, split: str) -> Dataset:
    try:
        from torchvision import datasets
    except ImportError as error:
        raise ModuleNotFoundError(
            f"downloading {name} needs torchvision: pip install 'falconet[train]', or name a "
            "folder of images with --data"
        ) from error
    try:
        kind = getattr(datasets, DOWNLOADS[name])
        dataset = kind(DOWNLOAD_FOLDER, train=split == "train", download=True)
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"{name} could not be downloaded ({error}); name a folder of images with --data"
        ) from error
    return Dataset(dataset.data, np.array(dataset.targets), tuple(dataset.classes))


def decode(image: Image, decoder: Decoder) -> Pixels:
    """The pixels of one image, at most 50 million, decoded as in serving.

    Raises:
        ValueError: it is damaged, larger than :data:`FILE_LIMIT`, or would be refused there; the
            message names the file.
    """
    if isinstance(image, np.ndarray):
        return image
    try:
        return decoder.decode(_read(image))
    except ValueError as error:
        raise ValueError(f"{image}: {error}") from error


def encode(image: Image) -> bytes:
    """The bytes that a client would send: a file unchanged, pixels as PNG.

    Raises:
        ValueError: the file is larger than :data:`FILE_LIMIT`.
    """
    if not isinstance(image, Path):
        return png(image, compress_level=1)
    try:
        return _read(image)
    except ValueError as error:
        raise ValueError(f"{image}: {error}") from error


def _read(file: Path) -> bytes:
    if (size := file.stat().st_size) > FILE_LIMIT:
        raise ValueError(
            f"expected an image of at most {FILE_LIMIT >> 20} MiB, got {size >> 20} MiB; is it an "
            "image? Take it out of the folder, or save it smaller"
        )
    return file.read_bytes()


def statistics(
    images: Sequence[Pixels], of: Literal["channels", "pixels", "no"]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation for normalization, for values in the range 0 to 1.

    Rounded to four decimals; further digits have no visible effect.

    Args:
        images: at least one, uint8 ``(height, width, 3)`` each.
        of: statistics per channel, of all values together, or 0 and 1, which change nothing.
    """
    if of == "no":
        return (0.0,) * 3, (1.0,) * 3
    count = 0
    total = np.zeros(3)
    squares = np.zeros(3)
    for pixels in images:
        values = pixels.reshape(-1, 3) / 255
        count += len(values)
        total += values.sum(0)
        squares += (values**2).sum(0)
    if of == "pixels":
        total[:] = total.mean()
        squares[:] = squares.mean()
    mean = total / count
    std = np.sqrt(squares / count - mean**2)
    return tuple(mean.round(4).tolist()), tuple(std.round(4).tolist())
