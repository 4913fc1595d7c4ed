"""Augmentation of whole batches, with the same code on a CPU and a GPU.

Every function takes ``(N, C, height, width)`` of any dtype and returns a new batch like it. The
random numbers come from a generator on the CPU, so that a run repeats on any device.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def flip(pictures: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror left and right the pictures whose entry in ``mirrored``, bool ``(N,)``, is true."""
    return torch.where(mirrored.view(-1, 1, 1, 1), pictures.flip(3), pictures)


def translate(pictures: Tensor, distance: int, generator: Generator) -> Tensor:
    """Shift each picture by up to ``distance`` pixels on both axes; what comes in is reflected."""
    if distance == 0:
        return pictures
    n, channels, height, width = pictures.shape
    device = pictures.device
    padded = F.pad(pictures, (distance,) * 4, mode="reflect")
    shift = torch.randint(0, 2 * distance + 1, (2, n, 1), generator=generator).to(device)
    rows = shift[0] + torch.arange(height, device=device)
    columns = shift[1] + torch.arange(width, device=device)
    return padded[
        torch.arange(n, device=device).view(-1, 1, 1, 1),
        torch.arange(channels, device=device).view(1, -1, 1, 1),
        rows.view(n, 1, height, 1),
        columns.view(n, 1, 1, width),
    ]


def cutout(pictures: Tensor, side: int, generator: Generator) -> Tensor:
    """Set a square of ``side`` pixels, somewhere in each picture, to zero (arXiv:1708.04552)."""
    if side == 0:
        return pictures
    n, _, height, width = pictures.shape
    device = pictures.device
    top = torch.randint(0, height - side + 1, (n, 1), generator=generator).to(device)
    left = torch.randint(0, width - side + 1, (n, 1), generator=generator).to(device)
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    in_rows = (y >= top) & (y < top + side)
    in_columns = (x >= left) & (x < left + side)
    square = in_rows.view(n, 1, height, 1) & in_columns.view(n, 1, 1, width)
    return pictures.masked_fill(square, 0)
