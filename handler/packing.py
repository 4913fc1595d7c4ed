"""Convolutions whose filters lie in memory as oneDNN computes with them.

Otherwise oneDNN brings them into that order on every call, which for a single small picture takes
longer than computing.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Where each kind of node has what the packed operator takes after the filters and the bias.
_PADDING, _STRIDE, _DILATION, _GROUPS = "padding", "stride", "dilation", "groups"
_PLACES = {
    "aten::conv2d": {_STRIDE: 3, _PADDING: 4, _DILATION: 5, _GROUPS: 6},
    "aten::_convolution": {_STRIDE: 3, _PADDING: 4, _DILATION: 5, _GROUPS: 8},
}
_CONVOLUTIONS = (torch.ops.aten.conv2d, torch.ops.aten.convolution, torch.ops.aten._convolution)
_TRANSPOSED = 6  # of aten::_convolution
_INTEGERS = "List[int]"


def can_pack(dtype: torch.dtype) -> bool:
    """Whether oneDNN computes convolutions in a dtype on this CPU."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (
        dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


class _Inputs(TorchDispatchMode):
    """Notes what convolutions are given, by where their filters lie in memory."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.of: dict[int, set[tuple[int, ...]]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Skipping imports the compiler first: 3 of the 6 s that a worker's start took.
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in _CONVOLUTIONS:  # type: ignore[attr-defined]
            self.of.setdefault(args[1].data_ptr(), set()).add(tuple(args[0].shape))
        return result


def input_sizes(model: torch.jit.ScriptModule, example: Tensor) -> list[tuple[int, ...] | None]:
    """How large the input of each of a frozen model's convolutions is.

    Args:
        model: is run once, and with that remembers its graph as it is: not the one to be packed.
        example: a batch as large as the batches to come, but for their number.

    Returns:
        of each convolution, in the order of :func:`pack`; ``None`` where the example does not reach
        it, or its filters are used for several sizes.
    """
    # What is wrong with a model that cannot be run, its first batch will say.
    with suppress(Exception), torch.no_grad(), _Inputs() as inputs:
        model(example)
    found: list[tuple[int, ...] | None] = []
    for node, _ in _convolutions(model.graph):
        filters = _constant(list(node.inputs())[1])
        sizes = inputs.of.get(filters.data_ptr(), set()) if isinstance(filters, Tensor) else set()
        found.append(next(iter(sizes)) if len(sizes) == 1 else None)
    return found


def pack(graph: Any, sizes: Sequence[tuple[int, ...] | None]) -> int:
    """Replace a frozen graph's convolutions, and a ReLU after them, by ones with packed filters.

    The operator is that of torch.compile (``torch/_inductor/fx_passes/mkldnn_fusion.py``). Its
    results are the same but for float32's last digits. Which order oneDNN wants depends on the size
    of the input: filters in another one are brought into it on every call, slowly.

    Args:
        graph: of a frozen model on the CPU that has not been run yet, whose filters have the dtype
            that it is computed in.
        sizes: of each convolution's input, as :func:`input_sizes` says of the same model.

    Returns:
        how many were replaced; others, and those whose input is not known, stay as they are.
    """
    found = list(zip(_convolutions(graph), sizes, strict=True))
    return sum(
        size is not None and _pack(graph, node, places, size) for (node, places), size in found
    )


def _convolutions(graph: Any) -> list[tuple[Any, dict[str, int]]]:
    """The nodes, and where each has its arguments."""
    return [
        (node, places)
        for kind, places in _PLACES.items()
        for node in graph.findAllNodes(kind, recurse=True)
    ]


def _pack(graph: Any, node: Any, places: dict[str, int], size: tuple[int, ...]) -> bool:
    inputs = list(node.inputs())
    filters, groups = _constant(inputs[1]), _constant(inputs[places[_GROUPS]])
    plain = node.kind() == "aten::conv2d" or _constant(inputs[_TRANSPOSED]) is False
    lists = [inputs[places[name]] for name in (_PADDING, _STRIDE, _DILATION)]
    geometry = [_constant(each) for each in lists]
    if (
        not isinstance(filters, Tensor)
        or filters.ndim != 4
        or groups is None
        or None in geometry
        or not plain
        # A padding may be the word "same".
        or any(str(each.type().annotation_str) != _INTEGERS for each in lists)
    ):
        return False
    try:
        reordered = torch.ops.mkldnn._reorder_convolution_weight(filters, *geometry, groups, size)
    except RuntimeError:  # oneDNN has no such convolution
        return False
    last, activation = node, "none"
    users = [use.user for use in node.output().uses()]
    if len(users) == 1 and users[0].kind() in ("aten::relu", "aten::relu_"):
        last, activation = users[0], "relu"
    graph.setInsertPoint(node)
    constant = graph.insertNode(graph.create("prim::ConstantMKLDNNTensor", [], 1))
    constant.t_("value", reordered)
    scalars = graph.insertNode(graph.create("prim::ListConstruct", [], 1))
    optional = torch._C.OptionalType(torch._C.NumberType.get())
    scalars.output().setType(torch._C.ListType(optional))
    made = graph.insertNode(
        graph.create(
            "mkldnn::_convolution_pointwise",
            [
                *(inputs[0], constant.output(), inputs[2], *lists, inputs[places[_GROUPS]]),
                *(graph.insertConstant(activation), scalars.output(), graph.insertConstant("")),
            ],
            1,
        )
    )
    last.output().replaceAllUsesWith(made.output())
    if last is not node:
        last.destroy()
    node.destroy()
    return True


def _constant(value: Any) -> Any:
    """What a value is, if it is a constant or a list of them."""
    node = value.node()
    if node.kind() == "prim::ListConstruct":
        found = [_constant(each) for each in node.inputs()]
        return None if None in found else found
    return value.toIValue() if node.kind() == "prim::Constant" else None
