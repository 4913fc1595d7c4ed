"""Images at the size for training: decoded in threads, resized once, kept as bytes."""

import math
import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from falconet.model.spec import Spec
from falconet.native.cores import available_cores
from falconet.native.data import Pixels

from .data import Dataset, decode
from .progress import track

CACHE = 2 << 30  # bytes in memory, by default


@dataclass(frozen=True)
class Prepared:
    """Images of one size.

    Attributes:
        pixels: uint8 ``(N, 3, height, width)``, on the CPU.
        sizes: of the decoded images, int64 ``(N, 2)``: height and width.
        on_disk: whether the pixels are mapped from a file.
    """

    pixels: Tensor
    sizes: npt.NDArray[np.int64]
    on_disk: bool

    @property
    def images(self) -> list[Pixels]:
        """Views of the same memory, ``(height, width, 3)`` each."""
        return list(self.pixels.permute(0, 2, 3, 1).numpy())

    @property
    def ratios(self) -> Tensor:
        """Width / height of the decoded images, float32 ``(N,)``."""
        return torch.from_numpy(self.sizes[:, 1] / self.sizes[:, 0]).float()


def prepare(
    dataset: Dataset,
    indices: npt.NDArray[np.int64],
    spec: Spec,
    cache: int = CACHE,
    folder: Path | None = None,
) -> Prepared:
    """Decode images, and resize and crop them as serving does.

    Only one image per core is in memory at its full size.

    Args:
        dataset: of the images.
        indices: which of them.
        spec: size, resize and decoding; its normalization is not used.
        cache: maximum bytes of the result in memory. A larger result is mapped from a file.
        folder: for that file, which has no name, so that the system deletes it with the process.
            ``None`` is the system's folder for temporary files, which may be in memory.

    Raises:
        ValueError: an image is damaged, or serving would refuse it; the message names it.
        OSError: there is no room for the file.
    """
    shape = (len(indices), 3, *spec.size)
    on_disk = math.prod(shape) > cache
    pixels = _mapped(shape, folder) if on_disk else np.empty(shape, np.uint8)
    sizes = np.empty((len(indices), 2), np.int64)
    decoder = spec.decoder()
    # The network's input before it is normalized: whole numbers from 0 to 255.
    preprocess = replace(spec, mean=(0.0,) * 3, std=(1 / 255,) * 3).preprocessor(threads=1)

    def fill(place: int) -> None:
        image = dataset.images[indices[place]]
        decoded = decode(image, decoder)
        sizes[place] = decoded.shape[:2]
        try:
            pixels[place] = preprocess([decoded])[0]
        except ValueError as error:  # too elongated to be resized in proportion
            raise ValueError(f"{image}: {error}") from error

    with (
        ThreadPoolExecutor(available_cores(), "decode") as threads,
        # After an error, closing it cancels tasks that have not started.
        closing(
            cast(Generator[None, None, None], threads.map(fill, range(len(indices))))
        ) as filled,
    ):
        for _ in track(filled, "decoding", len(indices)):
            pass
    return Prepared(torch.from_numpy(pixels), sizes, on_disk)


def _mapped(shape: tuple[int, ...], folder: Path | None) -> npt.NDArray[np.uint8]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, math.prod(shape))  # detect a full disk now
        except OSError as error:
            raise OSError(
                error.errno,
                f"expected room for {math.prod(shape):,} bytes of resized images "
                f"({error.strerror}); free some, or raise --cache",
                str(folder),
            ) from error
        return np.asarray(np.memmap(file, np.uint8, "r+", shape=shape))


def uncropped(spec: Spec) -> Spec:
    """A spec for random crops: whole images, at the scale of the center crop of ``spec``.

    Raises:
        ValueError: it puts whole images into a frame, which crops would not see.
    """
    if isinstance(spec.resize, int) and spec.fit == "longer":
        raise ValueError(
            "expected random_crop=0 where whole images are fitted into a frame, as the backbone's "
            "own preprocessing does; set that, or resize, with which the center is cropped"
        )
    size = spec.resize
    if isinstance(size, int):
        least = min(spec.size)
        size = (round(spec.size[0] * size / least), round(spec.size[1] * size / least))
    return replace(spec, size=size or spec.size, resize=None)


class Normalize(nn.Module):
    """Converts prepared pixels to the network's input, bit for bit as in serving.

    Each byte is looked up in a table that the spec's preprocessor computes.
    """

    table: Tensor
    first: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        every = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, 2)
        line = replace(spec, size=(1, 256), resize=None)
        table = torch.from_numpy(line.preprocessor(threads=1)([every]))
        self.register_buffer("table", table.flatten())
        self.register_buffer("first", torch.tensor([0, 256, 512]).view(3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``(N, 3, height, width)``, on any device, to float32 on the module's."""
        return self.table.take(pixels.to(self.table.device).long() + self.first)
