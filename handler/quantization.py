"""Which values and layers of a frozen TorchScript graph are 8-bit integers.

A value between two layers is bytes, ``round(value / scale) + zero_point``; weights are signed
bytes, with a scale for each output channel (arXiv:1806.08342).
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .graph import (
    NO_ACTIVATION,
    Fusion,
    Layer,
    changes_values,
    constant_value,
    find_fusion,
    find_layers,
    is_tensor,
)

FILE_NAME = "int8.json"
FORMAT = 1

LEVELS = 255  # of a byte

# Nodes that give on values as they are.
_PASS_THROUGH = {
    "aten::max_pool2d",
    "aten::cat",
    "aten::flatten",
    "aten::reshape",
    "aten::view",
    "aten::permute",
    "aten::transpose",
    "aten::contiguous",
}
# What oneDNN computes with a convolution, and with a linear layer, in 8-bit integers.
_CONVOLUTION_ACTIVATIONS = {"none", "relu", "hardtanh", "hardswish", "swish"}
_LINEAR_ACTIVATIONS = {"none", "relu", "gelu", "swish"}
# Folding batch norms gives other last digits in another version of torch; training gives more.
_SAME_WEIGHTS = 1e-4


class QuantizationError(ValueError):
    """A model cannot be computed in int8 as its ``int8.json`` says."""


@dataclass(frozen=True)
class Range:
    """The values that were seen somewhere in a network.

    Attributes:
        minimum: at most 0, which a byte holds exactly.
        maximum: at least 0.
    """

    minimum: float
    maximum: float

    @property
    def scale(self) -> float:
        return max(self.maximum - self.minimum, 1e-8) / LEVELS

    @property
    def zero_point(self) -> int:
        return round(-self.minimum / self.scale)


@dataclass(frozen=True)
class Quantization:
    """Which layers of a network compute in 8-bit integers, and on what.

    Values are numbered in the order that the simplified graph computes them in; 0 is its input.

    Attributes:
        graph: tells graphs apart, see :meth:`QuantizableGraph.fingerprint`.
        weights: of each layer, the mean absolute weight.
        ranges: of each value that may become bytes.
        shapes: of the input of each layer, by its output, without the batch.
        additions: the outputs of sums of two tensors of the same shape.
        layers: the outputs of layers that compute in 8-bit integers.
        least_agreement: the share of images whose top-1 class was asked to be as in float32.
    """

    graph: str
    weights: tuple[float, ...]
    ranges: Mapping[int, Range]
    shapes: Mapping[int, tuple[int, ...]]
    additions: frozenset[int]
    layers: frozenset[int]
    least_agreement: float = 0.0

    def to_json(self) -> str:
        ranges = {number: [each.minimum, each.maximum] for number, each in self.ranges.items()}
        return json.dumps(
            {
                "format": FORMAT,
                "graph": self.graph,
                "weights": list(self.weights),
                "ranges": ranges,
                "shapes": {number: list(each) for number, each in self.shapes.items()},
                "additions": sorted(self.additions),
                "layers": sorted(self.layers),
                "least_agreement": self.least_agreement,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Quantization":
        """What :meth:`to_json` gave.

        Raises:
            QuantizationError: it is something else.
        """
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise ValueError(f"expected format {FORMAT}, got {content['format']!r}")
            ranges = {int(n): Range(float(a), float(b)) for n, (a, b) in content["ranges"].items()}
            if not all(
                math.isfinite(each.minimum + each.maximum) and each.minimum <= 0 <= each.maximum
                for each in ranges.values()
            ):
                raise ValueError("expected ranges of finite numbers around 0")
            return cls(
                str(content["graph"]),
                tuple(map(float, content["weights"])),
                ranges,
                {int(n): tuple(map(int, each)) for n, each in content["shapes"].items()},
                frozenset(map(int, content["additions"])),
                frozenset(map(int, content["layers"])),
                float(content["least_agreement"]),
            )
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            raise QuantizationError(
                f"{FILE_NAME} cannot be read ({error!r}); run falconet archive --calibrate again"
            ) from None

    def check(self, graph: "QuantizableGraph") -> None:
        """Make sure that it was made for this graph.

        Raises:
            QuantizationError: it was not.
        """
        weights = graph.mean_weights()
        same = (
            self.graph == graph.fingerprint()
            and len(self.weights) == len(weights)
            and all(
                math.isclose(a, b, rel_tol=_SAME_WEIGHTS)
                for a, b in zip(self.weights, weights, strict=True)
            )
        )
        complete = (
            same
            and self.layers <= graph.layers.keys() & self.shapes.keys()
            and (graph.values_in_bytes(self.layers) <= self.ranges.keys())
        )
        if not complete:
            raise QuantizationError(
                f"{FILE_NAME} was made for another model, or by another version of torch (this is "
                f"{torch.__version__}); run falconet archive --calibrate again"
            )


class QuantizableGraph:
    """Where in a simplified graph layers and values may be 8-bit integers.

    What is in its branches is not considered.

    Args:
        graph: see :func:`.graph.simplify`.
        additions: as in :class:`Quantization`.

    Raises:
        QuantizationError: the graph is none that can be quantized.

    Attributes:
        values: the tensors that it is given and computes, in that order.
        layers: by the number of the output, what can compute so, with what follows.
    """

    def __init__(self, graph: Any, additions: frozenset[int] = frozenset()) -> None:
        _, given, *more = graph.inputs()
        if more or changes_values(graph):
            raise QuantizationError(
                "int8 needs a model with one input that changes no values in place"
            )
        self.values = [given, *_tensors(graph)]
        sums = {self.values[n].debugName() for n in additions if 0 <= n < len(self.values)}
        self._numbers = {value.debugName(): i for i, value in enumerate(self.values)}
        self._every_layer = find_layers(graph)
        self.layers: dict[int, tuple[Layer, Fusion]] = {}
        for layer in self._every_layer:
            number = self.number(layer.node.output())
            if number is not None and self.number(layer.input) is not None:
                self.layers[number] = layer, _fusion_in_int8(layer, sums)

    def number(self, value: Any) -> int | None:
        """Of a value; ``None`` if it is a constant, or computed in a branch."""
        return self._numbers.get(value.debugName())

    def passed_through(self, node: Any) -> list[Any]:
        """The tensors whose values a node gives on as they are, all or some."""
        if node.kind() not in _PASS_THROUGH:
            return []
        first, *rest = node.inputs()
        if node.kind() == "aten::cat":
            made = first.node()
            # A list that others have may be changed, and a constant has no range.
            whole = made.kind() == "prim::ListConstruct" and len(first.uses()) == 1
            parts = list(made.inputs()) if whole else []
            return parts if all(self.number(each) is not None for each in parts) else []
        if node.kind() == "aten::max_pool2d":
            window, stride, padding, dilation, _ = (constant_value(each) for each in rest)
            pairs = [window, padding] + ([stride] if stride else [])
            if dilation != [1, 1] or any(not each or len(each) != 2 for each in pairs):
                return []
        return [first] if self.number(first) is not None else []

    def fingerprint(self) -> str:
        """What a graph computes, from what, in which order, with weights of which shapes."""
        steps = [
            (value.node().kind(), [self._said(each) for each in _inputs(value.node())])
            for value in self.values[1:]
        ]
        shapes = [tuple(each.weight.shape) for each in self._every_layer]
        return hashlib.sha256(repr((steps, shapes)).encode()).hexdigest()

    def _said(self, value: Any) -> str:
        """An input of a node: its number, or what it is if it is no tensor."""
        number, constant = self.number(value), constant_value(value)
        return (
            repr(None if isinstance(constant, Tensor) else constant)
            if number is None
            else (f"value {number}")
        )

    def mean_weights(self) -> tuple[float, ...]:
        """Of each layer, by which those of another training are told apart."""
        return tuple(float(each.weight.double().abs().mean()) for each in self._every_layer)

    def groups(self) -> Iterator[list[int]]:
        """Values that have one range, as they are passed through from one to the other."""
        parents = list(range(len(self.values)))

        def root(number: int) -> int:
            while parents[number] != number:
                number = parents[number]
            return number

        for i, value in enumerate(self.values):
            for each in self.passed_through(value.node()):
                if (number := self.number(each)) is not None:
                    parents[root(i)] = root(number)
        found: dict[int, list[int]] = {}
        for number in range(len(self.values)):
            found.setdefault(root(number), []).append(number)
        yield from found.values()

    def values_in_bytes(self, layers: frozenset[int]) -> set[int]:
        """The values that are bytes if these layers compute in 8-bit integers."""
        wanted: set[int] = set()
        for layer, fusion in (self.layers[number] for number in layers):
            values = [layer.input]
            if fusion.shortcut is not None:
                values += [fusion.shortcut, fusion.last.output()]
            wanted |= {number for each in values if (number := self.number(each)) is not None}
        for i in reversed(range(len(self.values))):
            if i in wanted:
                given = self.passed_through(self.values[i].node())
                wanted |= {number for each in given if (number := self.number(each)) is not None}
        return wanted


def _inputs(node: Any) -> list[Any]:
    """What a node is given, lists as what is in them."""
    found = []
    for value in node.inputs():
        made = value.node()
        found += list(made.inputs()) if made.kind() == "prim::ListConstruct" else [value]
    return found


def _tensors(graph: Any) -> Iterator[Any]:
    for node in graph.nodes():
        if node.kind() != "prim::Constant":
            yield from filter(is_tensor, node.outputs())


def _fusion_in_int8(layer: Layer, additions: set[str]) -> Fusion:
    """What follows a layer and can be computed with it in 8-bit integers."""
    found = find_fusion(layer, additions)
    known = _LINEAR_ACTIVATIONS if layer.geometry is None else _CONVOLUTION_ACTIVATIONS
    if found.activation.name not in known or (
        layer.geometry is None and found.addition is not None
    ):
        return Fusion(layer.node, None, layer.node, NO_ACTIVATION)
    return found
