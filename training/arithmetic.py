"""What the convolutions and products of a run are computed in."""

import copy
import time
from collections.abc import Hashable
from typing import Literal

import torch
from torch import nn

from .recipe import Recipe

MEASURED_STEPS = 3

Precision = Literal["bfloat16", "float32"]

_fastest: dict[Hashable, Precision] = {}


def set_up(recipe: Recipe) -> None:
    """Set what a recipe asks of torch's kernels."""
    torch.use_deterministic_algorithms(recipe.deterministic)
    torch.backends.cudnn.benchmark = not recipe.deterministic
    torch.backends.cudnn.allow_tf32 = False  # which would be less than a recipe's float32


def precision_of(recipe: Recipe, network: nn.Module, device: torch.device) -> Precision:
    """The recipe's precision; for ``"auto"`` the faster one on this machine.

    A GPU takes bfloat16, and so does a deterministic run. Otherwise some steps are measured on the
    CPU, because networks with depthwise convolutions are often faster in float32. Other runs of the
    same network in this process take the same.

    Args:
        recipe: with the precision, the batch size and the size of images.
        network: which stays as it is; on the CPU.
        device: to train on.
    """
    if recipe.precision != "auto":
        return recipe.precision
    if device.type == "cuda" or recipe.deterministic:
        return "bfloat16"
    if emulates_bfloat16(device):
        return "float32"
    key = (recipe.network, repr(recipe.arguments), recipe.size, recipe.batch_size)
    if key not in _fastest:
        _fastest[key] = _measure(recipe, network)
    return _fastest[key]


def _measure(recipe: Recipe, network: nn.Module) -> Precision:
    network = copy.deepcopy(network).to(memory_format=torch.channels_last).train()
    x = torch.rand(recipe.batch_size, 3, *recipe.size).contiguous(memory_format=torch.channels_last)
    seconds: dict[Precision, list[float]] = {"float32": [], "bfloat16": []}
    for _ in range(1 + MEASURED_STEPS):
        for precision, each in seconds.items():
            began = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                logits = network(x).float()
            logits.sum().backward()
            each.append(time.perf_counter() - began)
    return min(seconds, key=lambda precision: min(seconds[precision][1:]))


def dtype_of(precision: Precision, device: torch.device) -> torch.dtype:
    """The type that a device computes in.

    Where bfloat16 is only emulated, it takes longer than float32: a GPU then computes in float16,
    for which gradients need a :class:`torch.amp.GradScaler`, and a CPU in float32.
    """
    if precision == "bfloat16" and emulates_bfloat16(device):
        return torch.float16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def emulates_bfloat16(device: torch.device) -> bool:
    """Whether a device has no instructions for bfloat16: a GPU before Ampere, or many CPUs."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) < (8, 0)
    if torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported():
        return False
    # True on all x86 with AVX-512, whose emulation takes twice the time of float32.
    return torch.cpu._is_avx2_supported() or not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def captures(device: torch.device, precision: torch.dtype) -> bool:
    """Whether steps may be recorded as a CUDA graph, with an optimizer that is built for that.

    Not with scaled gradients. Their scaler waits for the GPU, and fused SGD would begin with a
    momentum of whatever is in memory if the scaler skips its first step.
    """
    return device.type == "cuda" and precision != torch.float16
