"""The precision of a run's convolutions and matrix products."""

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
    """Configure torch's kernels for a recipe."""
    torch.use_deterministic_algorithms(recipe.deterministic)
    torch.backends.cudnn.benchmark = not recipe.deterministic
    forbid_tf32()


def forbid_tf32() -> None:
    """Have GPUs compute float32 in float32, and not in TF32, which is less precise."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False  # an environment variable may enable it


def precision_of(recipe: Recipe, network: nn.Module, device: torch.device) -> Precision:
    """The recipe's precision; for ``"auto"`` the faster one on this machine.

    GPUs and deterministic runs use bfloat16. Otherwise a few steps are measured on the CPU, because
    networks with depthwise convolutions are often faster in float32. Later runs of the same network
    in this process reuse the result.

    Args:
        recipe: gives the precision, batch size and image size.
        network: on the CPU; not modified.
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
    """The dtype that a device computes in.

    Emulated bfloat16 is slower than float32. Where it is emulated, a GPU computes in float16, whose
    gradients need a :class:`torch.amp.GradScaler`, and a CPU in float32.
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
    # mkldnn reports support on all x86 with AVX-512, whose emulation is half as fast as float32.
    return torch.cpu._is_avx2_supported() or not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def captures(device: torch.device, precision: torch.dtype) -> bool:
    """Whether steps may be recorded as a CUDA graph, with an optimizer built for that.

    False with scaled gradients: the scaler synchronizes with the GPU, and if it skips the first
    step, fused SGD starts with an uninitialized momentum.
    """
    return device.type == "cuda" and precision != torch.float16
