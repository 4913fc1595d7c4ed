"""Reading and changing the graph of a frozen TorchScript model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

_CONVOLUTIONS = {
    # Where each kind of node has its stride, padding, dilation and groups.
    "aten::conv2d": (3, 4, 5, 6),
    "aten::_convolution": (3, 4, 5, 8),
}
_TRANSPOSED = 6  # of aten::_convolution
_LINEAR = "aten::linear"


@dataclass(frozen=True)
class Layer:
    """A node that multiplies its input by constant weights.

    Attributes:
        node: ``aten::conv2d``, ``aten::_convolution`` or ``aten::linear``.
        weight: ``(out, in / groups, height, width)``, or ``(out, in)``.
        bias: ``(out,)`` or ``None``.
        geometry: of a convolution: stride, padding, dilation, groups.
    """

    node: Any
    weight: Tensor
    bias: Tensor | None
    geometry: tuple[list[int], list[int], list[int], int] | None

    @property
    def input(self) -> Any:
        return next(iter(self.node.inputs()))


class Activation(NamedTuple):
    """What oneDNN computes on a result before it is stored, in its operators' words."""

    name: str
    scalars: tuple[float, ...] = ()
    algorithm: str = ""


NO_ACTIVATION = Activation("none")


@dataclass(frozen=True)
class Fusion:
    """What follows a layer, and can be computed with it.

    Attributes:
        layer: the layer's node.
        add: adds a shortcut before the activation, which has no use after that; or ``None``.
        last: the node whose output is then the layer's.
        activation: the last step.
    """

    layer: Any
    add: Any | None
    last: Any
    activation: Activation

    @property
    def shortcut(self) -> Any | None:
        """The value that is added."""
        return None if self.add is None else _other(self.add, self.layer)


def _other(add: Any, layer: Any) -> Any:
    first, second, _ = add.inputs()
    return second if first.debugName() == layer.output().debugName() else first


def simplify(graph: Any) -> None:
    """Give every node an output of its own, and take out what does nothing when predicting."""
    torch._C._jit_pass_remove_mutation(graph)
    for kind in ("aten::dropout", "aten::feature_dropout"):
        for node in graph.findAllNodes(kind, recurse=True):
            inputs = list(node.inputs())
            if constant(inputs[2]) is False:
                node.output().replaceAllUsesWith(inputs[0])
                node.destroy()


def constant(value: Any) -> Any:
    """What a value is, if it is a constant or a list of them; else ``None``."""
    node = value.node()
    if node.kind() == "prim::ListConstruct":
        found = [constant(each) for each in node.inputs()]
        return None if None in found else found
    return value.toIValue() if node.kind() == "prim::Constant" else None


def layers(graph: Any) -> list[Layer]:
    """A graph's convolutions in two dimensions, then its linear layers, also in its branches."""
    nodes = [
        node
        for kind in (*_CONVOLUTIONS, _LINEAR)
        for node in graph.findAllNodes(kind, recurse=True)
    ]
    return [layer for node in nodes if (layer := _layer(node)) is not None]


def _layer(node: Any) -> Layer | None:
    inputs = list(node.inputs())
    weight, bias = constant(inputs[1]), constant(inputs[2])
    if not isinstance(weight, Tensor) or (bias is None and str(inputs[2].type()) != "NoneType"):
        return None
    if node.kind() == _LINEAR:
        return Layer(node, weight, bias, None) if weight.ndim == 2 else None
    *lists, groups = (constant(inputs[place]) for place in _CONVOLUTIONS[node.kind()])
    if (
        weight.ndim != 4
        or not isinstance(groups, int)
        # A padding may be the word "same".
        or not all(isinstance(each, list) and len(each) == 2 for each in lists)
        or (node.kind() == "aten::_convolution" and constant(inputs[_TRANSPOSED]) is not False)
    ):
        return None
    stride, padding, dilation = lists
    return Layer(node, weight, bias, (stride, padding, dilation, groups))


def fusion(layer: Layer) -> Fusion:
    """What can be computed with a layer."""
    last, add = layer.node, None
    user = _only_user(last)
    if user is not None and user.kind() == "aten::add":
        *_, alpha = user.inputs()
        if _can_be_overwritten(_other(user, last), last, user) and constant(alpha) == 1:
            last = add = user
            user = _only_user(last)
    activation = _activation(user) if user is not None else None
    if activation is None or (add is not None and activation.name != "relu"):
        return Fusion(layer.node, add, last, NO_ACTIVATION)
    return Fusion(layer.node, add, user, activation)


def _same(node: Any, other: Any) -> bool:
    first, second = ([value.debugName() for value in each.outputs()] for each in (node, other))
    return first == second


def _only_user(node: Any) -> Any | None:
    users = [use.user for use in node.output().uses()]
    alone = len(users) == 1 and users[0].owningBlock() == node.owningBlock()
    return users[0] if alone else None


def _can_be_overwritten(value: Any, layer: Any, add: Any) -> bool:
    """Whether a value is there before a layer, and nobody needs it after it is added."""
    maker = value.node()
    return (
        isinstance(value.type(), torch._C.TensorType)
        # What others may share memory with, such as views, they keep.
        and maker.kind() in _FRESH
        and maker.isBefore(layer)
        # The layer may not read what it writes over.
        and not any(_same(use.user, layer) or use.user.isAfter(add) for use in value.uses())
        and not any(use.user.kind() in _VIEWS for use in value.uses())
    )


_FRESH = {
    "aten::_convolution",
    "aten::add",
    "aten::conv2d",
    "aten::hardswish",
    "aten::hardtanh",
    "aten::max_pool2d",
    "aten::relu",
    "aten::silu",
    "mkldnn::_convolution_pointwise",
    "mkldnn::_convolution_pointwise_",
}
_VIEWS = {
    "aten::chunk",
    "aten::flatten",
    "aten::permute",
    "aten::reshape",
    "aten::select",
    "aten::slice",
    "aten::split",
    "aten::transpose",
    "aten::unsqueeze",
    "aten::view",
    "prim::ListConstruct",
    "prim::TupleConstruct",
    "prim::Return",
}


def _activation(node: Any) -> Activation | None:
    _, *arguments = (constant(each) for each in node.inputs())
    match node.kind():
        case "aten::relu":
            return Activation("relu")
        case "aten::relu6":
            return Activation("hardtanh", (0.0, 6.0))
        case "aten::hardtanh" | "aten::clamp" if None not in arguments:
            return Activation("hardtanh", (float(arguments[0]), float(arguments[1])))
        case "aten::hardswish":
            return Activation("hardswish")
        case "aten::silu":
            return Activation("swish")
        case "aten::gelu":
            return Activation("gelu", (), arguments[0])
    return None


class Insertion:
    """Puts nodes before another one."""

    def __init__(self, graph: Any, before: Any) -> None:
        self._graph = graph
        graph.setInsertPoint(before)

    def constant(self, value: Any) -> Any:
        """A number, a word, a list of integers, ``None``, or a tensor in oneDNN's own order too."""
        if value is None:
            made = self._graph.insertNode(self._graph.create("prim::Constant", [], 1))
            made.output().setType(torch._C.NoneType.get())
            return made.output()
        if isinstance(value, Tensor) and value.is_mkldnn:
            made = self._graph.insertNode(self._graph.create("prim::ConstantMKLDNNTensor", [], 1))
            made.t_("value", value)
            return made.output()
        return self._graph.insertConstant(value)

    def node(self, kind: str, arguments: Sequence[Any]) -> Any:
        """A node with one tensor; arguments are values, or what :meth:`constant` takes."""
        values = [
            each if isinstance(each, torch._C.Value) else self.constant(each) for each in arguments
        ]
        return self._graph.insertNode(self._graph.create(kind, values, 1)).output()

    def tensors(self, values: Sequence[Any]) -> Any:
        """A list of tensors."""
        made = self._graph.insertNode(self._graph.create("prim::ListConstruct", list(values), 1))
        made.output().setType(torch._C.ListType(torch._C.TensorType.get()))
        return made.output()

    def scalars(self, numbers: Sequence[float]) -> Any:
        """A list of numbers as oneDNN's operators take it."""
        values = [self.constant(number) for number in numbers]
        made = self._graph.insertNode(self._graph.create("prim::ListConstruct", values, 1))
        optional = torch._C.OptionalType(torch._C.NumberType.get())
        made.output().setType(torch._C.ListType(optional))
        return made.output()
