"""Layers whose weights lie in memory as oneDNN computes with them.

Otherwise oneDNN brings them into that order on every call, which for a single small image takes
longer than computing.
"""

from collections.abc import Container, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from .calls import Calls
from .graph import Layer, NodeInserter, find_fusion, find_layers

_OPERATORS = (torch.ops.aten.conv2d, torch.ops.aten.convolution, torch.ops.aten._convolution)


def can_pack(dtype: torch.dtype) -> bool:
    """Whether oneDNN computes convolutions in a dtype on this CPU."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (
        dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def input_sizes(model: torch.jit.ScriptModule, example: Tensor) -> list[tuple[int, ...] | None]:
    """How large the input of each of a frozen model's convolutions is.

    Args:
        model: is run once, and with that remembers its graph as it is: not the one to be packed.
        example: a batch as large as the batches to come, but for their number.

    Returns:
        of each convolution, in the order of :func:`pack`; ``None`` where the example does not reach
        it, or its filters are used for several sizes.
    """
    # By where their filters lie in memory.
    of: dict[int, set[tuple[int, ...]]] = {}

    def note(operator: Any, arguments: Sequence[Any], _: float) -> None:
        if operator in _OPERATORS:
            x, filters = arguments[:2]
            of.setdefault(filters.data_ptr(), set()).add(tuple(x.shape))

    # What is wrong with a model that cannot be run, its first batch will say.
    with suppress(Exception), torch.no_grad(), Calls(note):
        model(example)
    sizes = [of.get(each.weight.data_ptr(), set()) for each in convolutions(model.graph)]
    return [next(iter(found)) if len(found) == 1 else None for found in sizes]


def pack(
    graph: Any, sizes: Sequence[tuple[int, ...] | None], additions: Container[str] = ()
) -> int:
    """Replace a frozen graph's convolutions, and what can be computed with them, by packed ones.

    The operator is that of torch.compile (``torch/_inductor/fx_passes/mkldnn_fusion.py``). Its
    results are the same but for float32's last digits; in bfloat16 a sum with a shortcut is rounded
    once instead of twice. Which order oneDNN wants depends on the size of the input: filters in
    another one are brought into it on every call, slowly.

    Args:
        graph: of a frozen model on the CPU that has not been run yet, simplified, whose filters
            have the dtype that it is computed in.
        sizes: of each convolution's input, as :func:`input_sizes` says of the same model.
        additions: that may be computed with a convolution, see :func:`.graph.plain_additions`.

    Returns:
        how many were replaced; others, and those whose input is not known, stay as they are.
    """
    found = list(zip(convolutions(graph), sizes, strict=True))
    packed = sum(size is not None and _pack(graph, layer, size, additions) for layer, size in found)
    torch._C._jit_pass_dce(graph)
    return packed


def convolutions(graph: Any) -> list[Layer]:
    """Those that may be packed."""
    return [layer for layer in find_layers(graph) if layer.geometry is not None]


def _pack(graph: Any, layer: Layer, size: tuple[int, ...], additions: Container[str]) -> bool:
    assert layer.geometry is not None
    stride, padding, dilation, groups = layer.geometry
    geometry = (padding, stride, dilation, groups)
    try:
        reordered = torch.ops.mkldnn._reorder_convolution_weight(layer.weight, *geometry, size)
    except RuntimeError:  # oneDNN has no such convolution
        return False
    fused = find_fusion(layer, additions)
    inserter = NodeInserter(graph, layer.node)
    _, _, bias, *_ = layer.node.inputs()
    name, numbers, algorithm = fused.activation
    scalars = inserter.scalars(numbers)
    arguments = [inserter.constant(reordered), bias, *geometry]
    if fused.shortcut is None:
        made = inserter.node(
            "mkldnn::_convolution_pointwise",
            [layer.input, *arguments, name, scalars, algorithm],
        )
    else:
        made = inserter.node(
            "mkldnn::_convolution_pointwise_",
            [
                *(fused.shortcut, layer.input, *arguments, "add", 1.0),
                *(None if name == "none" else name, scalars, algorithm),
            ],
        )
    fused.last.output().replaceAllUsesWith(made)
    return True
