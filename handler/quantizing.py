"""Rewriting a frozen TorchScript graph so that layers compute in 8-bit integers.

The operators are those of torch.compile's quantized graphs, which take plain uint8 tensors
(``torch/_inductor/fx_passes/quantization.py``); what they lack is in :mod:`.quantized_ops`.
"""

from typing import Any

import torch
from torch import Tensor

from . import quantized_ops as _ops  # noqa: F401 - registers them
from .graph import Fusion, Layer, NodeInserter
from .quantization import QuantizableGraph, Quantization, Range

WEIGHT_LEVELS = 127  # of a signed byte, on either side of 0


def quantize(graph: Any, quantization: Quantization, dtype: torch.dtype) -> None:
    """Have layers of a simplified graph in float32 compute in 8-bit integers.

    Args:
        graph: of a frozen model on the CPU that has not been run yet.
        quantization: made from the same graph.
        dtype: what the rest will be computed in.

    Raises:
        QuantizationError: it was made from another graph.
    """
    quantizable = QuantizableGraph(graph, quantization.additions)
    quantization.check(quantizable)
    _Rewriting(graph, quantizable, quantization, dtype).run()


class _Rewriting:
    def __init__(
        self,
        graph: Any,
        quantizable: QuantizableGraph,
        quantization: Quantization,
        dtype: torch.dtype,
    ) -> None:
        self._graph, self._quantizable = graph, quantizable
        self._quantization, self._dtype = quantization, dtype
        self._in_bytes = quantizable.values_in_bytes(quantization.layers)
        self._passing = {
            number
            for number in self._in_bytes
            if quantizable.passed_through(quantizable.values[number].node())
        }
        self._ranges: dict[int, Range] = {}
        for group in quantizable.groups():
            seen = [quantization.ranges[n] for n in group if n in quantization.ranges]
            if seen:
                all_of_them = Range(
                    min(each.minimum for each in seen), max(each.maximum for each in seen)
                )
                self._ranges |= dict.fromkeys(group, all_of_them)
        # By the name of a value, its bytes; and its number, also of those that replace others.
        self._bytes: dict[str, Any] = {}
        self._numbers = {value.debugName(): i for i, value in enumerate(quantizable.values)}

    def run(self) -> None:
        for i, value in enumerate(self._quantizable.values):
            if i in self._quantization.layers:
                self._rewrite_layer(i, *self._quantizable.layers[i])
            elif i in self._passing:
                self._rewrite_pass_through(value.node(), i)
        torch._C._jit_pass_dce(self._graph)

    def _rewrite_layer(self, number: int, layer: Layer, fusion: Fusion) -> None:
        inserter = NodeInserter(self._graph, layer.node)
        output = self._quantizable.number(fusion.last.output())
        assert output is not None
        given = self._as_bytes(layer.input, inserter, channels_last=layer.geometry is not None)
        returns: list[Any] = [1.0, 0, _scalar_type(self._dtype)]
        name, numbers, algorithm = fusion.activation
        if output in self._in_bytes:
            held = self._ranges[output]
            returns = [held.scale, held.zero_point, _scalar_type(torch.uint8)]
            if name == "hardtanh" and numbers[0] == 0 and held.maximum <= numbers[1]:
                name, numbers = "relu", ()  # a byte holds no more than that
        activation = [name, inserter.scalars(numbers), algorithm]
        if layer.geometry is None:
            made = self._linear(layer, given, returns, activation, inserter)
        else:
            shape = (1, *self._quantization.shapes[number])
            made = self._convolution(layer, fusion, shape, given, returns, activation, inserter)
        self._replace(fusion.last.output(), made, output, inserter, output in self._in_bytes)

    def _linear(
        self,
        layer: Layer,
        given: tuple[Any, Range],
        returns: list[Any],
        activation: list[Any],
        inserter: NodeInserter,
    ) -> Any:
        scales, weight = quantized_weight(layer.weight)
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        packed = torch.ops.onednn.qlinear_prepack(weight, None)
        x, held = given
        start = [x, held.scale, held.zero_point, packed, scales, zeros, _float(layer.bias)]
        return inserter.node("onednn::qlinear_pointwise", [*start, *returns, *activation])

    def _convolution(
        self,
        layer: Layer,
        fusion: Fusion,
        shape: tuple[int, ...],
        given: tuple[Any, Range],
        returns: list[Any],
        activation: list[Any],
        inserter: NodeInserter,
    ) -> Any:
        assert layer.geometry is not None
        scales, weight = quantized_weight(layer.weight)
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        x, held = given
        packed = torch.ops.onednn.qconv_prepack(
            weight, scales, held.scale, held.zero_point, *layer.geometry, shape
        )
        start = [x, held.scale, held.zero_point, packed, scales, zeros]
        end = [_float(layer.bias), *layer.geometry, *returns]
        if fusion.shortcut is None:
            return inserter.node("onednn::qconv2d_pointwise", [*start, *end, *activation])
        added, added_range = self._as_bytes(fusion.shortcut, inserter, channels_last=True)
        binary = [added_range.scale, added_range.zero_point, "sum", 1.0]
        arguments = [*start, added, *end, *binary, *activation]
        return inserter.node("onednn::qconv2d_pointwise", arguments)

    def _rewrite_pass_through(self, node: Any, number: int) -> None:
        inserter = NodeInserter(self._graph, node)
        given = [self._as_bytes(value, inserter)[0] for value in self._given(node)]
        _, *rest = node.inputs()
        if node.kind() == "aten::max_pool2d":
            made = inserter.node("falconet::max_pool", [given[0], *rest])
        elif node.kind() == "aten::cat":
            made = inserter.node("aten::cat", [inserter.tensors(given), *rest])
        else:
            made = inserter.node(node.kind(), [given[0], *rest])
        self._replace(node.output(), made, number, inserter, in_bytes=True)

    def _given(self, node: Any) -> list[Any]:
        first = next(iter(node.inputs()))
        return list(first.node().inputs()) if node.kind() == "aten::cat" else [first]

    def _replace(
        self, old: Any, new: Any, number: int, inserter: NodeInserter, in_bytes: bool
    ) -> None:
        replacement = new
        if in_bytes:
            held = self._ranges[number]
            # For nodes that do not take bytes; left out where all do.
            arguments = [new, held.scale, held.zero_point, _scalar_type(self._dtype)]
            replacement = inserter.node("falconet::dequantize", arguments)
            self._bytes[replacement.debugName()] = new
        self._numbers[replacement.debugName()] = number
        old.replaceAllUsesWith(replacement)

    def _as_bytes(
        self, value: Any, inserter: NodeInserter, *, channels_last: bool = False
    ) -> tuple[Any, Range]:
        name = value.debugName()
        held = self._ranges[self._numbers[name]]
        if name not in self._bytes:
            arguments = [value, held.scale, held.zero_point, channels_last]
            self._bytes[name] = inserter.node("falconet::quantize", arguments)
        return self._bytes[name], held


def quantized_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A scale for each output channel, and the weights in units of it, as signed bytes."""
    weight = weight.float()
    largest = weight.flatten(1).abs().amax(1)
    scales = (largest / WEIGHT_LEVELS).clamp_min(1e-12)
    units = (weight / scales.view(-1, *[1] * (weight.ndim - 1))).round()
    return scales, units.clamp(-WEIGHT_LEVELS, WEIGHT_LEVELS).to(torch.int8).contiguous()


def _float(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.float()


def _scalar_type(dtype: torch.dtype) -> int:
    """Of a dtype, as TorchScript numbers them."""
    return {torch.uint8: 0, torch.float32: 6, torch.bfloat16: 15}[dtype]
