"""Operators for TorchScript graphs in 8-bit integers that torch does not have for plain bytes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from falconet.native import _core

_LIBRARY = torch.library.Library("falconet", "DEF")
_LIBRARY.define("quantize(Tensor x, float scale, int zero_point, bool channels_last) -> Tensor")
_LIBRARY.define("dequantize(Tensor x, float scale, int zero_point, ScalarType dtype) -> Tensor")
_LIBRARY.define(
    "max_pool(Tensor x, int[] window, int[] stride, int[] padding, int[] dilation, bool ceil_mode)"
    " -> Tensor"
)


def quantize(x: Tensor, scale: float, zero_point: int, channels_last: bool) -> Tensor:
    """Bytes of a float32 or bfloat16 tensor: ``round(x / scale) + zero_point``, within 0 to 255.

    Args:
        channels_last: in this order, as convolutions want it.
    """
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else _dense(x)
    out = torch.empty_like(x, dtype=torch.uint8)
    bits = x.view(torch.uint16) if x.dtype == torch.bfloat16 else x
    _core.quantize(_rows(bits).numpy(), scale, zero_point, _rows(out).numpy())
    return out


def dequantize(x: Tensor, scale: float, zero_point: int, dtype: torch.dtype) -> Tensor:
    """A float32 or bfloat16 tensor of bytes: ``(x - zero_point) * scale``."""
    x = _dense(x)
    out = torch.empty_like(x, dtype=dtype)
    bits = out.view(torch.uint16) if dtype == torch.bfloat16 else out
    _core.dequantize(_rows(x).numpy(), scale, zero_point, _rows(bits).numpy())
    return out


def max_pool(
    x: Tensor,
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    """The largest byte of each window of ``(N, C, height, width)``, as ``aten::max_pool2d``.

    Raises:
        ValueError: a dilation other than 1.
    """
    if any(each != 1 for each in dilation):
        raise ValueError(f"dilation: expected 1, got {dilation}")
    rows = x.permute(0, 2, 3, 1).contiguous()
    stride = stride or window
    sides = []
    for side, size, step, before in zip(x.shape[2:], window, stride, padding, strict=True):
        room = side + 2 * before - size
        count = (-(-room // step) if ceil_mode else room // step) + 1
        # No window begins in the padding behind.
        sides.append(count - (ceil_mode and (count - 1) * step >= side + before))
    out = torch.empty((len(x), *sides, x.shape[1]), dtype=torch.uint8)
    _core.max_pool(rows.numpy(), window, stride, padding, out.numpy())
    return out.permute(0, 3, 1, 2)


def _dense(x: Tensor) -> Tensor:
    """The same in an order without gaps, as it lies there already if possible."""
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x
    return x.contiguous()


def _rows(x: Tensor) -> Tensor:
    """The memory of a dense tensor in C order."""
    return x if x.is_contiguous() else x.permute(0, 2, 3, 1)


_LIBRARY.impl("quantize", quantize, "CPU")
_LIBRARY.impl("dequantize", dequantize, "CPU")
_LIBRARY.impl("max_pool", max_pool, "CPU")
