"""The values in a network, and the ranges that bytes hold best."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from falconet.handler.graph import function_of, plain_additions
from falconet.handler.network import load_frozen
from falconet.handler.quantization import LEVELS, QuantizableGraph, Quantization, Range
from falconet.training.progress import track

# Of a batch, at each place.
SAMPLES = 4096
# Of what was seen, how much a range may span.
CLIPPING = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)


@dataclass
class _Observed:
    """At one place."""

    minimum: float = 0.0
    maximum: float = 0.0
    samples: list[Tensor] = field(default_factory=list)

    def add(self, values: Tensor, generator: torch.Generator) -> None:
        values = values.flatten()
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        # By chance, as steps would meet the same channels again and again.
        chosen = torch.randint(len(values), (min(SAMPLES, len(values)),), generator=generator)
        self.samples.append(values[chosen])

    def range(self) -> Range:
        """The one in which rounding and clipping change the values least."""
        values = torch.cat(self.samples)
        tried = [Range(self.minimum * share, self.maximum * share) for share in CLIPPING]
        return min(tried, key=lambda each: _squared_error(values, each))


def _squared_error(values: Tensor, within: Range) -> float:
    units = (values / within.scale).round() + within.zero_point
    back = (units.clamp(0, LEVELS) - within.zero_point) * within.scale
    return float((back - values).square().sum())


def observe(path: Path, batches: Sequence[Tensor]) -> Quantization:
    """Observe a TorchScript model, all of whose layers compute in 8-bit integers then.

    Args:
        path: of the file.
        batches: float32, ``(N, C, height, width)``.

    Raises:
        ValueError: the model cannot be frozen, or changes values in place.
        RuntimeError: it cannot be run.
    """
    model = load_frozen(path)  # its graph goes with it
    graph = model.graph
    sums = plain_additions(graph, batches[0])
    names = {value.debugName(): i for i, value in enumerate(QuantizableGraph(graph).values)}
    additions = frozenset(names[name] for name in sums)
    quantizable = QuantizableGraph(graph, additions)
    layers = frozenset(quantizable.layers)
    wanted = sorted(quantizable.values_in_bytes(layers))
    values = [quantizable.values[number] for number in wanted]
    inputs = [layer.input for layer, _ in quantizable.layers.values()]
    run = function_of(graph, [*values, *inputs])
    observed = {number: _Observed() for number in wanted}
    shapes: dict[int, tuple[int, ...]] = {}
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for batch in track(batches, "observing values") if layers else ():
            found = run(batch)
            for number, seen in zip(wanted, found, strict=False):
                observed[number].add(seen, generator)
            for number, given in zip(quantizable.layers, found[len(wanted) :], strict=True):
                shapes[number] = tuple(given.shape[1:])
    return Quantization(
        graph=quantizable.fingerprint(),
        weights=quantizable.mean_weights(),
        ranges={number: each.range() for number, each in observed.items()},
        shapes=shapes,
        additions=additions,
        layers=layers,
    )
