"""Reading and changing the graph of a frozen TorchScript model."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

_CONVOLUTIONS = {
    # Where each kind of node has its stride, padding, dilation and groups.
    "aten::conv2d": (3, 4, 5, 6),
    "aten::_convolution": (3, 4, 5, 8),
}
_TRANSPOSED, _ALLOW_TF32 = 6, 12  # of aten::_convolution
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

    It is computed where the layer is, as nothing else needs what lies between.

    Attributes:
        layer: the layer's node.
        addition: the ``aten::add`` of a shortcut before the activation, if the shortcut's memory
            may be overwritten; or ``None``.
        last: the node whose output is then the layer's.
        activation: the last step.
    """

    layer: Any
    addition: Any | None
    last: Any
    activation: Activation

    @property
    def shortcut(self) -> Any | None:
        """The value that is added."""
        return None if self.addition is None else _other_operand(self.addition, self.layer)


def _other_operand(add: Any, layer: Any) -> Any:
    first, second, _ = add.inputs()
    return second if first.debugName() == layer.output().debugName() else first


def simplify(graph: Any) -> None:
    """Replace in-place operators by those that return a new tensor, and remove dropout."""
    torch._C._jit_pass_remove_mutation(graph)
    for kind in ("aten::dropout", "aten::feature_dropout"):
        for node in graph.findAllNodes(kind, recurse=True):
            inputs = list(node.inputs())
            if constant_value(inputs[2]) is False:
                node.output().replaceAllUsesWith(inputs[0])
                node.destroy()


def forbid_tf32(graph: Any) -> None:
    """Have all convolutions compute in the precision of their input on a GPU.

    Traced convolutions have the settings of cuDNN of the process that traced them, by default with
    TF32. Those of the process that runs them do not count.
    """
    for node in graph.findAllNodes("aten::_convolution", recurse=True):
        if len(list(node.inputs())) > _ALLOW_TF32:  # files of old versions do not have it
            node.replaceInput(_ALLOW_TF32, NodeInserter(graph, node).constant(False))


def changes_values(graph: Any) -> bool:
    """Whether some node, of a branch as well, writes into what it is given."""
    blocks = [graph.block()]
    while blocks:
        for node in blocks.pop().nodes():
            blocks += node.blocks()
            if node.kind() == "prim::SetAttr":
                return True
            # Ours write where nothing else reads.
            ours = node.kind().startswith(("onednn::", "mkldnn::"))
            if not ours and not node.kind().startswith("prim::") and "!" in node.schema():
                return True
    return False


def constant_value(value: Any) -> Any:
    """What a value is, if it is a constant or a list of them; else ``None``."""
    node = value.node()
    if node.kind() == "prim::ListConstruct":
        found = [constant_value(each) for each in node.inputs()]
        return None if None in found else found
    return value.toIValue() if node.kind() == "prim::Constant" else None


def find_layers(graph: Any) -> list[Layer]:
    """A graph's convolutions in two dimensions, then its linear layers, also in its branches."""
    nodes = [
        node
        for kind in (*_CONVOLUTIONS, _LINEAR)
        for node in graph.findAllNodes(kind, recurse=True)
    ]
    return [layer for node in nodes if (layer := _layer(node)) is not None]


def _layer(node: Any) -> Layer | None:
    inputs = list(node.inputs())
    weight, bias = constant_value(inputs[1]), constant_value(inputs[2])
    if not isinstance(weight, Tensor) or (bias is None and str(inputs[2].type()) != "NoneType"):
        return None
    if node.kind() == _LINEAR:
        return Layer(node, weight, bias, None) if weight.ndim == 2 else None
    *lists, groups = (constant_value(inputs[place]) for place in _CONVOLUTIONS[node.kind()])
    if (
        weight.ndim != 4
        or not isinstance(groups, int)
        # A padding may be the word "same".
        or not all(isinstance(each, list) and len(each) == 2 for each in lists)
        or (
            node.kind() == "aten::_convolution" and constant_value(inputs[_TRANSPOSED]) is not False
        )
    ):
        return None
    stride, padding, dilation = lists
    return Layer(node, weight, bias, (stride, padding, dilation, groups))


def function_of(graph: Any, values: Sequence[Any]) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Computes some values of a frozen graph, none of them in a branch, from its input.

    Raises:
        ValueError: the graph has several inputs, or reads the module that it is of.
    """
    # By where a value is made, as a copy may have other names.
    places = {
        value.debugName(): (i, j)
        for i, node in enumerate((graph.param_node(), *graph.nodes()))
        for j, value in enumerate(node.outputs())
    }
    copy = graph.copy()
    nodes = [list(node.outputs()) for node in (copy.param_node(), *copy.nodes())]
    module, *given = copy.inputs()
    if module.uses() or len(given) != 1:
        raise ValueError("expected a model of one tensor that does not change its own state")
    copy.eraseOutput(0)
    for value in values:
        i, j = places[value.debugName()]
        copy.registerOutput(nodes[i][j])
    copy.makeMultiOutputIntoTuple()
    copy.eraseInput(0)
    torch._C._jit_pass_dce(copy)
    found: Callable[[Tensor], tuple[Tensor, ...]] = torch._C._create_function_from_graph(
        "values", copy
    )
    return found


def plain_additions(graph: Any, example: Tensor) -> frozenset[str]:
    """The outputs, by name, of the sums of two tensors of the same shape, outside of branches.

    Args:
        graph: of a frozen model.
        example: an input of several images; those to come differ in their number only.
    """
    if changes_values(graph):
        return frozenset()
    sums = [
        node
        for node in graph.nodes()
        if node.kind() == "aten::add" and all(map(is_tensor, list(node.inputs())[:2]))
    ]
    if not sums:
        return frozenset()
    operands = [value for node in sums for value in list(node.inputs())[:2]]
    try:
        with torch.inference_mode():
            found = function_of(graph, operands)(example)
    except (RuntimeError, ValueError, KeyError):  # what is wrong with it, its first batch will say
        return frozenset()
    pairs = zip(found[::2], found[1::2], strict=True)
    return frozenset(
        node.output().debugName()
        for node, (first, second) in zip(sums, pairs, strict=True)
        if first.shape == second.shape and first.dtype == second.dtype
    )


def is_tensor(value: Any) -> bool:
    """Whether a value is one tensor."""
    return isinstance(value.type(), torch._C.TensorType)


def find_fusion(layer: Layer, additions: Container[str]) -> Fusion:
    """What can be computed with a layer.

    Args:
        layer: of a simplified graph.
        additions: as :func:`plain_additions` says.
    """
    last, addition = layer.node, None
    user = _only_user(last)
    if user is not None and user.kind() == "aten::add" and user.output().debugName() in additions:
        *_, alpha = user.inputs()
        if constant_value(alpha) == 1 and _can_be_overwritten(
            _other_operand(user, last), last, user
        ):
            last = addition = user
            user = _only_user(last)
    activation = _activation(user) if user is not None else None
    if activation is None or (addition is not None and activation.name != "relu"):
        return Fusion(layer.node, addition, last, NO_ACTIVATION)
    return Fusion(layer.node, addition, user, activation)


def _same_node(node: Any, other: Any) -> bool:
    first, second = ([value.debugName() for value in each.outputs()] for each in (node, other))
    return first == second


def _only_user(node: Any) -> Any | None:
    users = [use.user for use in node.output().uses()]
    alone = len(users) == 1 and users[0].owningBlock() == node.owningBlock()
    return users[0] if alone else None


def _can_be_overwritten(value: Any, layer: Any, add: Any) -> bool:
    """Whether a layer may put its sum into a value's memory."""
    maker = value.node()
    others = [use.user for use in value.uses() if not _same_node(use.user, add)]
    return (
        is_tensor(value)
        # In a loop, the value is needed again.
        and maker.owningBlock() == layer.owningBlock()
        and maker.isBefore(layer)
        and maker.kind() in _ALLOCATE_OUTPUT
        # What they return does not share the value's memory.
        and all(user.kind() in _ALLOCATE_OUTPUT and user.isBefore(layer) for user in others)
    )


# These return a tensor of their own.
_ALLOCATE_OUTPUT = {
    "aten::_convolution",
    "aten::adaptive_avg_pool2d",
    "aten::add",
    "aten::avg_pool2d",
    "aten::batch_norm",
    "aten::conv2d",
    "aten::gelu",
    "aten::hardsigmoid",
    "aten::hardswish",
    "aten::hardtanh",
    "aten::layer_norm",
    "aten::linear",
    "aten::max_pool2d",
    "aten::mean",
    "aten::mul",
    "aten::relu",
    "aten::relu6",
    "aten::sigmoid",
    "aten::silu",
    "falconet::dequantize",
    "falconet::max_pool",
    "falconet::quantize",
    "mkldnn::_convolution_pointwise",
    "onednn::qconv2d_pointwise",
}


def _activation(node: Any) -> Activation | None:
    _, *arguments = (constant_value(each) for each in node.inputs())
    match node.kind():
        case "aten::relu":
            return Activation("relu")
        case "aten::relu6":
            return Activation("hardtanh", (0.0, 6.0))
        case "aten::hardtanh" | "aten::clamp" if all(
            isinstance(each, int | float) for each in arguments
        ):
            return Activation("hardtanh", (float(arguments[0]), float(arguments[1])))
        case "aten::hardswish":
            return Activation("hardswish")
        case "aten::silu":
            return Activation("swish")
        case "aten::gelu":
            return Activation("gelu", (), arguments[0])
    return None


class NodeInserter:
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
