"""Quantization-aware training: weights and inputs of layers are rounded as in int8 serving."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

LEVELS, WEIGHT_LEVELS = 255, 127
_LAYERS = (torch.conv2d, F.conv2d, F.linear)


class Int8(TorchFunctionMode):
    """Rounds inputs of convolutions and linear layers to bytes, and weights to signed bytes.

    Gradients pass the rounding unchanged (arXiv:1712.05877). The range of inputs is that of the
    batch. Weights have a range per output channel, so that a batch norm after a convolution, which
    scales channels, changes nothing.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _LAYERS:
            x, weight, *rest = args
            return func(rounded(x), rounded_weight(weight), *rest, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def rounded(x: Tensor) -> Tensor:
    """Round values to bytes, with 0 exact."""
    with torch.no_grad():
        least, most = x.amin().clamp_max(0).float(), x.amax().clamp_min(0).float()
        scale = ((most - least) / LEVELS).clamp_min(1e-8)
        zero = (-least / scale).round()
        there = (((x / scale).round() + zero).clamp(0, LEVELS) - zero) * scale
    return x + (there.to(x.dtype) - x).detach()


def rounded_weight(weight: Tensor) -> Tensor:
    """Round weights to signed bytes, with a scale for each output channel."""
    with torch.no_grad():
        largest = weight.flatten(1).abs().amax(1).float()
        scale = (largest / WEIGHT_LEVELS).clamp_min(1e-12).view(-1, *[1] * (weight.ndim - 1))
        there = (weight / scale).round() * scale
    return weight + (there.to(weight.dtype) - weight).detach()
