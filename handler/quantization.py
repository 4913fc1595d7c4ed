"""A frozen TorchScript graph in which layers compute with 8-bit integers.

A value between two such layers is bytes, ``round(value / scale) + zero``; weights are signed bytes,
with a scale for each channel that comes out (arXiv:1806.08342). The operators are those of
torch.compile's quantized graphs (``torch/_inductor/fx_passes/quantization.py``), which take plain
tensors, and need AVX512-VNNI to be fast.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import quantized_ops as _ops  # noqa: F401 - registers them
from .graph import NO_ACTIVATION, Fusion, Insertion, Layer, fusion, layers

FILE_NAME = "int8.json"
FORMAT = 1

LEVELS = 255
WEIGHT_LEVELS = 127

# What gives on values as they are.
_PASSING = {
    "aten::max_pool2d",
    "aten::cat",
    "aten::flatten",
    "aten::reshape",
    "aten::view",
    "aten::permute",
    "aten::transpose",
    "aten::contiguous",
}
_OF_CONVOLUTIONS = {"none", "relu", "hardtanh", "hardswish", "swish"}
_OF_LINEAR_LAYERS = {"none", "relu", "gelu", "swish"}


@dataclass(frozen=True)
class Range:
    """The values that were seen somewhere in a network.

    Attributes:
        least: at most 0, which a byte stands for exactly.
        most: at least 0.
    """

    least: float
    most: float

    @property
    def scale(self) -> float:
        return max(self.most - self.least, 1e-8) / LEVELS

    @property
    def zero(self) -> int:
        return round(-self.least / self.scale)


@dataclass(frozen=True)
class Quantization:
    """Which layers of a network compute in 8-bit integers, and on what.

    Values are numbered in the order that the simplified graph computes them in, from 0; -1 is the
    input.

    Attributes:
        graph: tells graphs apart, see :func:`fingerprint`.
        ranges: of each value that may become bytes.
        shapes: of the input of each layer, by its output, without the batch.
        layers: the outputs of layers that compute in 8-bit integers.
    """

    graph: str
    ranges: Mapping[int, Range]
    shapes: Mapping[int, tuple[int, ...]]
    layers: frozenset[int]

    def to_json(self) -> str:
        return json.dumps(
            {
                "format": FORMAT,
                "graph": self.graph,
                "ranges": {node: [each.least, each.most] for node, each in self.ranges.items()},
                "shapes": {node: list(each) for node, each in self.shapes.items()},
                "layers": sorted(self.layers),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Quantization":
        """What :meth:`to_json` gave.

        Raises:
            ValueError: it is something else.
        """
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise ValueError(f"expected format {FORMAT}, got {content['format']!r}")
            return cls(
                str(content["graph"]),
                {int(n): Range(float(a), float(b)) for n, (a, b) in content["ranges"].items()},
                {int(n): tuple(map(int, each)) for n, each in content["shapes"].items()},
                frozenset(map(int, content["layers"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{FILE_NAME}: {type(error).__name__}: {error}") from None


def tensors(graph: Any) -> list[Any]:
    """The tensors that a graph computes, without those of its branches."""
    return [
        value
        for node in graph.nodes()
        if node.kind() != "prim::Constant"
        for value in node.outputs()
        if isinstance(value.type(), torch._C.TensorType)
    ]


def fingerprint(graph: Any) -> str:
    """What a graph computes, in which order, with weights of which shapes."""
    shapes = [tuple(each.weight.shape) for each in layers(graph)]
    kinds = [value.node().kind() for value in tensors(graph)]
    return hashlib.sha256(repr((kinds, shapes)).encode()).hexdigest()


class Places:
    """Where in a simplified graph values may be bytes.

    Attributes:
        values: in the order that they are computed in.
        number: of each value in that order, by its name; of the graph's input -1.
        layers: by the number of the output, what can be computed in 8-bit integers, with what
            follows.
    """

    def __init__(self, graph: Any) -> None:
        self.values = tensors(graph)
        *_, given = graph.inputs()
        self.number = {value.debugName(): i for i, value in enumerate(self.values)}
        self.number[given.debugName()] = -1
        self.layers: dict[int, tuple[Layer, Fusion]] = {}
        for layer in layers(graph):
            number = self.number_of(layer.node.output())
            if number is not None and self.number_of(layer.input) is not None:
                self.layers[number] = layer, _supported(layer)
        self._class = list(range(len(self.values) + 1))
        for i, value in enumerate(self.values):
            for each in passed(value.node()):
                if (number := self.number_of(each)) is not None:
                    self._class[self._find(i)] = self._find(number)

    def _find(self, node: int) -> int:
        while self._class[node] != node:  # -1 is the last of the list
            node = self._class[node]
            if node == len(self.values):
                return node
        return node

    def together(self) -> Iterator[list[int]]:
        """Nodes, -1 among them, whose bytes mean the same, as they are passed on."""
        found: dict[int, list[int]] = {}
        for node in range(-1, len(self.values)):
            found.setdefault(self._find(node), []).append(node)
        yield from found.values()

    def number_of(self, value: Any) -> int | None:
        return self.number.get(value.debugName())

    def bytes_at(self, chosen: frozenset[int]) -> set[int]:
        """Nodes whose outputs are bytes if these layers compute in 8-bit integers."""
        wanted: set[int] = set()
        for node in chosen:
            layer, fused = self.layers[node]
            values = [layer.input]
            if fused.shortcut is not None:
                values += [fused.shortcut, fused.last.output()]
            wanted |= {n for value in values if (n := self.number_of(value)) is not None}
        for i in reversed(range(len(self.values))):
            if i in wanted:
                given = passed(self.values[i].node())
                wanted |= {n for each in given if (n := self.number_of(each)) is not None}
        return wanted


def passed(node: Any) -> list[Any]:
    """The tensors whose values a node gives on as they are, all or some."""
    if node.kind() not in _PASSING:
        return []
    first = next(iter(node.inputs()))
    return list(first.node().inputs()) if node.kind() == "aten::cat" else [first]


def _supported(layer: Layer) -> Fusion:
    """What follows a layer and can be computed with it in 8-bit integers."""
    found = fusion(layer)
    known = _OF_LINEAR_LAYERS if layer.geometry is None else _OF_CONVOLUTIONS
    if found.activation.name not in known or (layer.geometry is None and found.add is not None):
        return Fusion(layer.node, None, layer.node, NO_ACTIVATION)
    return found


def quantize(graph: Any, quantization: Quantization, dtype: torch.dtype) -> int:
    """Have layers of a simplified graph in float32 compute in 8-bit integers.

    Args:
        graph: of a frozen model on the CPU that has not been run yet.
        quantization: made from the same graph.
        dtype: what the rest will be computed in.

    Returns:
        how many layers do.

    Raises:
        ValueError: it was made from another graph.
    """
    if fingerprint(graph) != quantization.graph:
        raise ValueError(f"{FILE_NAME} was made for another model, or by another version of torch")
    places = Places(graph)
    return _Rewriting(graph, places, quantization, dtype).run()


class _Rewriting:
    def __init__(
        self, graph: Any, places: Places, quantization: Quantization, dtype: torch.dtype
    ) -> None:
        self._graph, self._places = graph, places
        self._quantization, self._dtype = quantization, dtype
        self._bytes_at = places.bytes_at(quantization.layers)
        self._ranges: dict[int, Range] = {}
        for together in places.together():
            seen = [quantization.ranges[n] for n in together if n in quantization.ranges]
            if seen:
                all_of_them = Range(min(r.least for r in seen), max(r.most for r in seen))
                self._ranges |= dict.fromkeys(together, all_of_them)
        # By the name of a value, its bytes.
        self._bytes: dict[str, Any] = {}
        # By the name of a value that took the place of another, that one's node.
        self._number = dict(places.number)

    def run(self) -> int:
        last_of = {
            fused.last.output().debugName(): node
            for node, (_, fused) in self._places.layers.items()
            if node in self._quantization.layers
        }
        for i, value in enumerate(self._places.values):
            layer = last_of.get(value.debugName())
            if layer is not None:
                self._layer(layer, i)
            elif i in self._bytes_at and passed(value.node()):
                self._pass(value.node(), i)
        torch._C._jit_pass_dce(self._graph)
        return len(self._quantization.layers)

    def _layer(self, number: int, last: int) -> None:
        layer, fused = self._places.layers[number]
        insertion = Insertion(self._graph, fused.last)
        taken, taken_range = self._as_bytes(
            layer.input, insertion, channels_last=layer.geometry is not None
        )
        scales, weight = quantized_weight(layer.weight)
        gives_bytes = last in self._bytes_at
        given = self._ranges.get(last)
        out: list[Any] = [1.0, 0, _number(self._dtype)]
        if gives_bytes:
            assert given is not None
            out = [given.scale, given.zero, _number(torch.uint8)]
        name, numbers, algorithm = fused.activation
        if given is not None and gives_bytes and name == "hardtanh" and numbers[0] == 0:
            # A byte holds no more than the range that was seen.
            name, numbers = "relu", ()
        scalars = insertion.scalars(numbers)
        shape = (1, *self._quantization.shapes[number])
        start = [taken, taken_range.scale, taken_range.zero]
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        if layer.geometry is None:
            packed = torch.ops.onednn.qlinear_prepack(weight, None)
            made = insertion.node(
                "onednn::qlinear_pointwise",
                [*start, packed, scales, zeros, layer.bias, *out, name, scalars, algorithm],
            )
        else:
            geometry = layer.geometry
            packed = torch.ops.onednn.qconv_prepack(
                weight, scales, taken_range.scale, taken_range.zero, *geometry, shape
            )
            start += [packed, scales, zeros]
            if fused.shortcut is None:
                made = insertion.node(
                    "onednn::qconv2d_pointwise",
                    [*start, layer.bias, *geometry, *out, name, scalars, algorithm],
                )
            else:
                sum_, sum_range = self._as_bytes(fused.shortcut, insertion, channels_last=True)
                made = insertion.node(
                    "onednn::qconv2d_pointwise",
                    [
                        *(*start, sum_, layer.bias, *geometry, *out),
                        *(sum_range.scale, sum_range.zero, "sum", 1.0, name, scalars, algorithm),
                    ],
                )
        self._replace(fused.last.output(), made, last, insertion, gives_bytes)

    def _pass(self, node: Any, number: int) -> None:
        insertion = Insertion(self._graph, node)
        given = [self._as_bytes(value, insertion)[0] for value in passed(node)]
        _, *rest = node.inputs()
        if node.kind() == "aten::max_pool2d":
            made = insertion.node("falconet::max_pool", [given[0], *rest])
        elif node.kind() == "aten::cat":
            made = insertion.node("aten::cat", [insertion.tensors(given), *rest])
        else:
            made = insertion.node(node.kind(), [given[0], *rest])
        self._replace(node.output(), made, number, insertion, gives_bytes=True)

    def _replace(
        self, old: Any, new: Any, number: int, insertion: Insertion, gives_bytes: bool
    ) -> None:
        stands = new
        if gives_bytes:
            made = self._ranges[number]
            # For whoever does not take bytes; left out where all do.
            stands = insertion.node(
                "falconet::dequantize", [new, made.scale, made.zero, _number(self._dtype)]
            )
            self._bytes[stands.debugName()] = new
        self._number[stands.debugName()] = number
        old.replaceAllUsesWith(stands)

    def _as_bytes(
        self, value: Any, insertion: Insertion, *, channels_last: bool = False
    ) -> tuple[Any, Range]:
        name = value.debugName()
        held = self._ranges[self._number[name]]
        if name not in self._bytes:
            arguments = [value, held.scale, held.zero, channels_last]
            self._bytes[name] = insertion.node("falconet::quantize", arguments)
        return self._bytes[name], held


def quantized_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A scale for each channel that comes out, and the weights in units of it, as signed bytes."""
    largest = weight.flatten(1).abs().amax(1)
    scales = (largest / WEIGHT_LEVELS).clamp_min(1e-12)
    units = (weight / scales.view(-1, *[1] * (weight.ndim - 1))).round()
    return scales, units.clamp(-WEIGHT_LEVELS, WEIGHT_LEVELS).to(torch.int8).contiguous()


def _number(dtype: torch.dtype) -> int:
    """Of a dtype, in TorchScript."""
    return {torch.uint8: 0, torch.float32: 6, torch.bfloat16: 15}[dtype]
