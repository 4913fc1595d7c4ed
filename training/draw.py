"""The random numbers of an epoch."""

from typing import NamedTuple

import torch
from torch import Tensor

from . import augment
from .recipe import Recipe


class Draw(NamedTuple):
    """What is random in an epoch, apart from dropout. All tensors are on the CPU.

    Attributes:
        order: the images of the batches, int64 ``(N,)``.
        chances: uniform numbers below 1 for each of them, ``(N, augment.COLUMNS)``.
        mirrors: which of them alternating flips mirror, bool ``(N,)``.
        boxes: of CutMix, int64 ``(batches, 4)``; zeros without it.
    """

    order: Tensor
    chances: Tensor
    mirrors: Tensor
    boxes: Tensor


def draw(recipe: Recipe, images: int, batches: int, epoch: int) -> Draw:
    """Draw them from the recipe's seed and the epoch's number alone.

    Args:
        recipe: with the seed, the batch size and the augmentation.
        images: how many there are to train on.
        batches: of the epoch.
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
