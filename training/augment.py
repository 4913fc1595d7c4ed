"""Augmentation of whole batches, with the same code on a CPU and a GPU.

Random numbers come from a table of uniform numbers, one row per image, drawn on the CPU and then
moved. An image gets the same numbers on any device, and in any process that shares the batch.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

# Columns of uniform numbers for the augmentation of one image. Those after FIRST_COLUMNS are drawn
# last, so that runs started by an earlier version resume with the same numbers.
ROTATE, SHIFT, MIRROR, TRANSLATE, CUTOUT = 0, slice(1, 3), 3, slice(4, 6), slice(6, 8)
CROP, COLOR = slice(8, 12), slice(12, 15)
COLUMNS, FIRST_COLUMNS = 15, 8

CROP_RATIOS = 3 / 4, 4 / 3  # width by height, as by torchvision's RandomResizedCrop
GRAY = 0.2989, 0.587, 0.114  # as by torchvision's rgb_to_grayscale


@dataclass(frozen=True)
class Augmentation:
    """What is done to each image of a batch, in this order.

    Attributes:
        random_crop: crop a part of at least this share of the image's area, with sides of 3:4 to
            4:3, and resize it to the network's size, as torchvision's RandomResizedCrop does; 0
            crops the center, as serving does.
        brightness: multiply values by 1 plus or minus up to this, as by torchvision's ColorJitter.
        contrast: the same for the distance of values from the mean gray.
        saturation: the same for the distance of each pixel from its gray.
        rotate: turned by up to so many degrees, bilinear, edges repeated, and
        shift: in the same step moved by up to this share of its sides, as Keras does.
        flip: mirrored left and right, by chance or in every other epoch (arXiv:2404.00498).
        translate: moved by up to so many whole pixels, edges reflected.
        cutout: side of a square that is blanked, in pixels (arXiv:1708.04552).
        cutmix: a box of the next image of the batch is put in, its share of the area from
            Beta(cutmix, cutmix), and the labels are mixed likewise (arXiv:1905.04899).
    """

    random_crop: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    rotate: float = 0.0
    shift: float = 0.0
    flip: Literal["no", "random", "alternating"] = "no"
    translate: int = 0
    cutout: int = 0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        amounts = (self.brightness, self.contrast, self.saturation)
        if not 0 <= self.random_crop <= 1 or min(amounts) < 0:
            raise ValueError(
                "expected random_crop from 0 to 1, and brightness, contrast and saturation from 0, "
                f"got {self.random_crop} and {', '.join(map(str, amounts))}"
            )

    def crop_and_jitter(
        self, pixels: Tensor, chance: Tensor, ratios: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Crop images and change their colors, before they are normalized.

        Args:
            pixels: uint8 ``(N, 3, height, width)``; for random crops, of whole images.
            chance: uniform numbers below 1, ``(N, COLUMNS)``.
            ratios: width / height of the images before resizing, ``(N,)``.
            size: ``(height, width)`` of the network's input.

        Returns:
            uint8 ``(N, 3, *size)``.
        """
        amounts = (self.brightness, self.contrast, self.saturation)
        if not self.random_crop and not any(amounts):
            return pixels
        images = pixels.float()
        if self.random_crop:
            images = crop(images, *crop_boxes(self.random_crop, chance[:, CROP], ratios), size)
        if any(amounts):
            swings = (2 * chance[:, COLOR] - 1).T
            images = jitter(
                images, *(1 + a * each for a, each in zip(amounts, swings, strict=True))
            )
        return images.round().byte()

    def __call__(self, images: Tensor, chance: Tensor, mirrored: Tensor) -> Tensor:
        """Apply all augmentation but cutmix to a batch of normalized images.

        Args:
            images: ``(N, C, height, width)``, floating point.
            chance: uniform numbers below 1, ``(N, COLUMNS)``.
            mirrored: which images alternating flips mirror, bool ``(N,)``.
        """
        if self.rotate or self.shift:
            turn, move = chance[:, ROTATE], chance[:, SHIFT]
            images = affine(images, (2 * turn - 1) * self.rotate, (2 * move - 1) * self.shift)
        if self.flip != "no":
            chosen = mirrored if self.flip == "alternating" else chance[:, MIRROR] < 0.5
            images = flip(images, chosen)
        if self.translate:
            images = translate(images, self.translate, chance[:, TRANSLATE])
        if self.cutout:
            images = cutout(images, self.cutout, chance[:, CUTOUT])
        return images


def crop_boxes(least: float, chance: Tensor, ratios: Tensor) -> tuple[Tensor, Tensor]:
    """Random crop boxes, in fractions of the sides: top and left, height and width, ``(N, 2)``.

    A side that is too long for the image is clipped, where torchvision draws again.

    Args:
        least: minimum fraction of the area to keep.
        chance: uniform numbers below 1, ``(N, 4)``.
        ratios: width / height of the images, ``(N,)``.
    """
    area = least + (1 - least) * chance[:, 0]
    low, high = (math.log(ratio) for ratio in CROP_RATIOS)
    taller = ratios / (low + (high - low) * chance[:, 1]).exp()
    sides = torch.stack([area * taller, area / taller], 1).sqrt().clamp(max=1)
    return (1 - sides) * chance[:, 2:], sides


def crop(images: Tensor, corner: Tensor, sides: Tensor, size: tuple[int, int]) -> Tensor:
    """Crop each image, and resize the crop bilinearly to ``(N, C, *size)``.

    Args:
        images: ``(N, C, height, width)``, floating point.
        corner: top and left of the crops, in fractions of the sides, ``(N, 2)``.
        sides: height and width, likewise.
        size: ``(height, width)`` of the result.
    """
    move, nothing = 2 * corner + sides - 1, torch.zeros_like(sides[:, 0])
    rows = [
        torch.stack([sides[:, 1], nothing, move[:, 1]], 1),
        torch.stack([nothing, sides[:, 0], move[:, 0]], 1),
    ]
    shape = [*images.shape[:2], *size]
    grid = F.affine_grid(torch.stack(rows, 1), shape, align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def jitter(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Multiply brightness, contrast and saturation of each image by factors, ``(N,)`` each.

    Args:
        images: RGB, ``(N, 3, height, width)``, floating point from 0 to 255, like the result.
        brightness: 0 is black.
        contrast: 0 is the mean gray of the image.
        saturation: 0 is gray.
    """
    images = away(images, torch.zeros_like(images), brightness)
    images = away(images, gray(images).mean((2, 3), keepdim=True), contrast)
    return away(images, gray(images), saturation)


def away(images: Tensor, others: Tensor, factors: Tensor) -> Tensor:
    """Multiply the difference of images from others by a factor for each image, ``(N,)``."""
    return (others + factors.view(-1, 1, 1, 1) * (images - others)).clamp(0, 255)


def gray(images: Tensor) -> Tensor:
    """RGB, ``(N, 3, height, width)``, as ``(N, 1, height, width)``."""
    red, green, blue = (share * images[:, i : i + 1] for i, share in enumerate(GRAY))
    return red + green + blue


def affine(images: Tensor, degrees: Tensor, move: Tensor) -> Tensor:
    """Turn each image by ``degrees``, ``(N,)``, and move it by a share of its sides, ``(N, 2)``.

    As Keras' ImageDataGenerator with its default ``fill_mode``: bilinear, edges repeated.
    """
    _, _, height, width = images.shape
    angle = degrees * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    # affine_grid maps output positions to input positions, in units of half the sides.
    rows = [
        torch.stack([cos, -sin * height / width, 2 * move[:, 0]], 1),
        torch.stack([sin * width / height, cos, 2 * move[:, 1]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror left and right the images whose entry in ``mirrored``, bool ``(N,)``, is true."""
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)


def translate(images: Tensor, distance: int, chance: Tensor) -> Tensor:
    """Shift each image by up to ``distance`` pixels on both axes, with reflected edges."""
    n, channels, height, width = images.shape
    device = images.device
    padded = F.pad(images, (distance,) * 4, mode="reflect")
    shift = (chance * (2 * distance + 1)).long()
    rows = shift[:, :1] + torch.arange(height, device=device)
    columns = shift[:, 1:] + torch.arange(width, device=device)
    return padded[
        torch.arange(n, device=device).view(-1, 1, 1, 1),
        torch.arange(channels, device=device).view(1, -1, 1, 1),
        rows.view(n, 1, height, 1),
        columns.view(n, 1, 1, width),
    ]


def cutout(images: Tensor, side: int, chance: Tensor) -> Tensor:
    """Set a randomly placed square of ``side`` pixels in each image to zero."""
    _, _, height, width = images.shape
    top = (chance[:, 0] * (height - side + 1)).long()
    left = (chance[:, 1] * (width - side + 1)).long()
    return images.masked_fill(box(images, top, left, side, side), 0)


def draw_box(alpha: float, height: int, width: int, generator: torch.Generator) -> Tensor:
    """A box for :func:`cutmix`: top, left, height and width, ``(4,)``, clipped at the edges.

    Args:
        alpha: of the Beta distribution of the share of an image that stays.
        height: of the images.
        width: of the images.
        generator: on the CPU.
    """
    # Beta(a, a) as a ratio of gamma variables: torch's gamma takes a generator, its Beta does not.
    gammas = torch._standard_gamma(torch.full((2,), alpha), generator=generator)
    side = float((gammas[0] / gammas.sum().clamp_min(1e-30)).clamp(0, 1).sqrt())
    y, x = torch.rand(2, generator=generator).tolist()
    top = round(max(0.0, y * height - side * height / 2))
    left = round(max(0.0, x * width - side * width / 2))
    bottom = round(min(float(height), y * height + side * height / 2))
    right = round(min(float(width), x * width + side * width / 2))
    return torch.tensor([top, left, bottom - top, right - left])


def cutmix(images: Tensor, targets: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Put a box of the next image of the batch into each, and mix the targets by area.

    Args:
        images: ``(N, C, height, width)``.
        targets: probabilities, ``(N, classes)``.
        place: the box, the same in all images, from :func:`draw_box`.
    """
    _, _, height, width = images.shape
    top, left, rows, columns = place
    inside = box(images[:1], top.view(1), left.view(1), rows, columns)
    share = rows * columns / (height * width)
    mixed = torch.where(inside, images.roll(1, 0), images)
    return mixed, targets * (1 - share) + targets.roll(1, 0) * share


def box(
    images: Tensor, top: Tensor, left: Tensor, height: int | Tensor, width: int | Tensor
) -> Tensor:
    """Mask of a box of that size in each image, bool ``(N, 1, height, width)``."""
    n, _, rows, columns = images.shape
    y = torch.arange(rows, device=images.device)
    x = torch.arange(columns, device=images.device)
    in_rows = (y >= top.view(n, 1)) & (y < top.view(n, 1) + height)
    in_columns = (x >= left.view(n, 1)) & (x < left.view(n, 1) + width)
    return in_rows.view(n, 1, rows, 1) & in_columns.view(n, 1, 1, columns)
