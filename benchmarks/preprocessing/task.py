"""The task everyone is given, and Pillow's answer to it, which is the right one."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from falconet.native import IMAGENET_MEAN, IMAGENET_STD

SHORTER = 256
SIDE = 224
FILTERS = ("bilinear", "bicubic", "lanczos")

MEAN = np.array(IMAGENET_MEAN, np.float32)
STD = np.array(IMAGENET_STD, np.float32)

# Falconet's promise for normalized values; bytes it gives exactly.
TOLERANCE = 1e-6

SUPPORT = {"bilinear": 1, "bicubic": 2, "lanczos": 3}  # Pillow's, in pixels of the result

Array = npt.NDArray[Any]


def resized(width: int, height: int) -> tuple[int, int]:
    """The (height, width) that torchvision resizes to."""
    short, long = min(width, height), max(width, height)
    other = int(SHORTER * long / short)
    return (SHORTER, other) if height <= width else (other, SHORTER)


def corner(width: int, height: int) -> tuple[int, int]:
    """The top and left of the center crop in a resized image, rounded as torchvision does."""
    rows, columns = resized(width, height)
    return round((rows - SIDE) / 2), round((columns - SIDE) / 2)


def moved(size: tuple[int, int], filter: str) -> int:
    """The bytes of an image that the crop depends on, and of the float32 that come out."""
    support, (rows, columns), (top, left) = SUPPORT[filter], resized(*size), corner(*size)
    needed = _needed(size[1], rows, top, support) * _needed(size[0], columns, left, support)
    return 3 * needed + 4 * 3 * SIDE * SIDE


def _needed(length: int, resized: int, first: int, support: int) -> int:
    """How many of a side's pixels weigh in the result's pixels of the crop; when shrinking."""
    scale = length / resized
    low = (first + 0.5) * scale - support * scale
    high = (first + SIDE - 0.5) * scale + support * scale
    return min(int(high + 0.5), length) - max(int(low + 0.5), 0)


def on_pil(filter: str | None) -> transforms.Compose:
    """What torchvision does with a PIL image; without a filter, only the normalization."""
    normalize = [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    if filter is None:
        return transforms.Compose(normalize)
    resize = transforms.Resize(SHORTER, InterpolationMode(filter))
    return transforms.Compose([resize, transforms.CenterCrop(SIDE), *normalize])


def with_pillow(image: Array, filter: str) -> Array:
    """The bytes of the whole image, resized."""
    height, width = resized(image.shape[1], image.shape[0])
    return np.asarray(
        Image.fromarray(image).resize((width, height), Image.Resampling[filter.upper()])
    )


def bytes_of(batch: Any) -> Array:
    """What a normalized batch (N, 3, height, width) was before, uint8 (N, height, width, 3)."""
    values = np.asarray(batch).transpose(0, 2, 3, 1) * STD
    values += MEAN
    values *= 255
    return np.rint(values).clip(0, 255).astype(np.uint8)


def image_of(answer: Any) -> Array:
    """An image as this or that library gives it, uint8 (height, width, 3)."""
    if isinstance(answer, torch.Tensor):
        return answer.reshape(answer.shape[-3:]).permute(1, 2, 0).numpy()
    return np.asarray(answer)


def unlike(pixels: Array, right: Array) -> tuple[float, int]:
    """The share of bytes that differ, and by how much at most."""
    assert pixels.shape == right.shape, f"expected {right.shape}, got {pixels.shape}"
    difference = np.maximum(pixels, right) - np.minimum(pixels, right)
    return np.count_nonzero(difference) / difference.size, int(difference.max())
