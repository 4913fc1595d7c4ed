"""What the convolutions and products of a run are computed in."""

import torch

from .recipe import Recipe


def set_up(recipe: Recipe, device: torch.device) -> torch.dtype:
    """Set what a recipe asks of torch's kernels, and find the type that they compute in.

    Returns:
        The recipe's precision; float16 in place of bfloat16 where a GPU only emulates that, which
        takes longer than float32. Gradients then need a :class:`torch.amp.GradScaler`.
    """
    torch.use_deterministic_algorithms(recipe.deterministic)
    torch.backends.cudnn.benchmark = not recipe.deterministic
    torch.backends.cudnn.allow_tf32 = False  # which would be less than a recipe's float32
    if recipe.precision == "bfloat16" and emulates_bfloat16(device):
        return torch.float16
    precision: torch.dtype = getattr(torch, recipe.precision)
    return precision


def emulates_bfloat16(device: torch.device) -> bool:
    """Whether a device is a GPU before Ampere."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0)


def captures(device: torch.device, precision: torch.dtype) -> bool:
    """Whether steps may be recorded as a CUDA graph, with an optimizer that is built for that.

    Not with scaled gradients. Their scaler waits for the GPU, and fused SGD would begin with a
    momentum of whatever is in memory if the scaler skips its first step.
    """
    return device.type == "cuda" and precision != torch.float16
