"""What one image costs a network."""

from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .folding import fold


class Cost(NamedTuple):
    """Numbers that are stored, those that are trained or fixed before training, and products."""

    parameters: int
    multiply_adds: int


def cost(network: nn.Module, size: tuple[int, int]) -> Cost:
    """The cost of one RGB image of that ``(height, width)``, in evaluation mode.

    Counts the multiplications of convolutions and matrices, each with its addition as one;
    normalizations, activations and pools are left out, as is usual.
    """
    image = torch.zeros(1, 3, *size)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        fold(network)(image)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(parameters, counter.get_total_flops() // 2)
