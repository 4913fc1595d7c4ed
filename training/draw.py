"""The random numbers of an epoch."""

from typing import NamedTuple

import torch
from torch import Tensor

from . import augment
from .recipe import Recipe


class Draw(NamedTuple):
    """The random numbers of an epoch, except dropout's. All tensors are on the CPU.

    Attributes:
        order: indices of the images, in the order of the batches, int64 ``(N,)``.
        chances: uniform numbers below 1 for each image, ``(N, augment.COLUMNS)``.
        mirrors: which images alternating flips mirror, bool ``(N,)``.
        boxes: CutMix boxes, int64 ``(batches, 4)``; zeros without CutMix.
    """

    order: Tensor
    chances: Tensor
    mirrors: Tensor
    boxes: Tensor


def draw(recipe: Recipe, images: int, batches: int, epoch: int) -> Draw:
    """Draw an epoch's random numbers from only the recipe's seed and the epoch number.

    Args:
        recipe: gives the seed, batch size and augmentation.
        images: number of training images.
        batches: number of batches in the epoch.
        epoch: from 0.
    """
    random = _generator(recipe.seed, epoch)
    order = torch.randperm(images, generator=random)[: batches * recipe.batch_size]
    chances = torch.rand(len(order), augment.FIRST_COLUMNS, generator=random)
    boxes = torch.zeros(batches, 4, dtype=torch.int64)
    if share := recipe.augmentation.cutmix:
        boxes = torch.stack([augment.draw_box(share, *recipe.size, random) for _ in boxes])
    more = torch.rand(len(order), augment.COLUMNS - augment.FIRST_COLUMNS, generator=random)
    mirrored = torch.rand(images, generator=_generator(recipe.seed, -1)) < 0.5
    mirrors = mirrored[order] ^ (epoch % 2 == 1)
    return Draw(order, torch.cat([chances, more], 1), mirrors, boxes)


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(1_000_003 * seed + epoch + 1)
