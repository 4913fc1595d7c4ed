"""How long a network and its layers take, in floating point and in int8."""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from falconet.handler.calls import Calls
from falconet.handler.network import Network, fast_bfloat16, load_frozen
from falconet.handler.precision import Precision
from falconet.handler.quantization import QuantizableGraph, Quantization

RUNS = 5
OPTIMIZED_AFTER = 3  # TorchScript looks at the first runs, and then optimizes
LAYER_OPERATORS = {
    *("_convolution_pointwise", "_convolution_pointwise_", "conv2d", "convolution", "_convolution"),
    *("linear", "addmm", "mm", "qconv2d_pointwise", "qlinear_pointwise"),
}


class Seconds(NamedTuple):
    """For a batch, on one thread.

    Attributes:
        floating: in bfloat16 where the CPU is fast in it, else in float32.
        int8: in 8-bit integers.
    """

    floating: float
    int8: float


def layer_times(path: Path, quantization: Quantization, batch: Tensor) -> dict[int, Seconds]:
    """Of each layer, with what turns its input into bytes; none if they cannot be told apart."""
    model = load_frozen(path)
    in_order = sorted(QuantizableGraph(model.graph, quantization.additions).layers)
    found = []
    for network in _networks(path, quantization, batch):
        runs = [_times_in_order(network, batch) for _ in range(RUNS)]
        if any(len(run) != len(in_order) for run in runs):
            return {}
        found.append([min(each) for each in zip(*runs, strict=True)])
    pairs = zip(*found, strict=True)
    return {layer: Seconds(*pair) for layer, pair in zip(in_order, pairs, strict=True)}


def _times_in_order(network: Network, batch: Tensor) -> list[float]:
    """Seconds of each layer, in the order that they are computed in."""
    times: list[float] = []
    conversions = 0.0

    def note(operator: Any, _: Sequence[Any], took: float) -> None:
        nonlocal conversions
        if operator.__name__ == "quantize":
            conversions += took
        elif operator.__name__ in LAYER_OPERATORS:
            times.append(took + conversions)
            conversions = 0.0

    with _one_thread(), Calls(note):
        network(batch)
    return times


def network_times(path: Path, quantization: Quantization, batch: Tensor) -> Seconds:
    """Medians of a whole network, taken in turn."""
    networks = _networks(path, quantization, batch)
    taken: list[list[float]] = [[], []]
    with _one_thread():
        for _ in range(RUNS):
            for network, times in zip(networks, taken, strict=True):
                began = perf_counter()
                network(batch)
                times.append(perf_counter() - began)
    return Seconds(*(statistics.median(each) for each in taken))


def _networks(path: Path, quantization: Quantization, batch: Tensor) -> tuple[Network, Network]:
    """A model as it is served in floating point, and in int8."""
    image = (int(batch.shape[1]), int(batch.shape[2]), int(batch.shape[3]))
    floating: Precision = "bfloat16" if fast_bfloat16() else "float32"
    networks = (
        Network(path, floating, image=image),
        Network(path, "int8", image=image, quantization=quantization),
    )
    for network in networks:
        for _ in range(OPTIMIZED_AFTER):
            network(batch)
    return networks


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
