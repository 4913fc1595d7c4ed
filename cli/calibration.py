"""Post-training static quantization: which layers of a model compute in int8."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor

from falconet.handler.classifier import Classifier
from falconet.handler.graph import Layer
from falconet.handler.network import Network, can_quantize, load_frozen
from falconet.handler.quantization import FILE_NAME, QuantizableGraph, Quantization
from falconet.handler.quantizing import quantize
from falconet.model.archive import MODEL
from falconet.native.errors import ImageError
from falconet.training.progress import track

from .layer_times import Seconds, layer_times, network_times
from .observation import observe

# At most so many images are observed, and so many others compared; fewer if they would take more
# than MEMORY bytes, but at least 2 * LEAST_IMAGES.
OBSERVED, COMPARED, LEAST_IMAGES = 128, 1000, 64
MEMORY = 1 << 29
BATCH = 4
# Images by which the error of each layer is found, and the size of the batches that are timed.
FOR_ERRORS, TIMED_BATCH = 16, 8
# A layer gains something in int8 if it takes at most so much of its time in floating point; and two
# networks take the same time if one takes less than so much of the other's.
WORTH_IT, SAME_TIME = 0.9, 1.05
# How many of the layers with the largest errors are tried in floating point.
IN_FLOATING_POINT = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


class CalibrationError(RuntimeError):
    """No choice of layers agrees well enough with the model in float32."""


@dataclass(frozen=True)
class LayerReport:
    """One layer.

    Attributes:
        name: its kind, channels and size.
        error: of what the model returns if this layer alone computes in int8: the distance from
            float32, as a share of the distance from the images' mean.
        seconds: for a batch of :data:`TIMED_BATCH`, if the CPU has instructions for int8.
        int8: whether it computes in int8.
    """

    name: str
    error: float
    seconds: Seconds | None
    int8: bool


@dataclass(frozen=True)
class Calibration:
    """How a model in int8 compares with itself in float32.

    Attributes:
        quantization: which layers, and the ranges of values.
        layers: each.
        observed: how many images' values were observed.
        compared: on how many others the predictions were compared.
        same_top1: on how many of those the class is the same.
        probability_change: the largest.
        seconds: for a batch of :data:`TIMED_BATCH`, if the CPU has instructions for int8.
    """

    quantization: Quantization
    layers: list[LayerReport]
    observed: int
    compared: int
    same_top1: int
    probability_change: float
    seconds: Seconds | None

    def __str__(self) -> str:
        chosen = sum(each.int8 for each in self.layers)
        text = (
            f"{chosen} of {len(self.layers)} layers, observed on {self.observed} images; on "
            f"{self.compared} others the top-1 class is the same as in float32 on "
            f"{self.same_top1}, probabilities differ by at most {self.probability_change:.2g}"
        )
        if self.seconds is not None:
            floating, integers = (1e3 * each / TIMED_BATCH for each in self.seconds)
            text += f"; {integers:.2f} ms an image instead of {floating:.2f} ms"
        return text

    def to_json(self) -> dict[str, float]:
        """The figures, for a program."""
        return {
            "layers_int8": sum(each.int8 for each in self.layers),
            "layers": len(self.layers),
            "compared": self.compared,
            "same_top1": self.same_top1,
            "probability_change": self.probability_change,
        }

    def table(self) -> Table:
        """The layers, for a person."""
        heads = ("layer", "error in int8", "µs in float", "µs in int8", "precision")
        made = Table(*heads, box=None)
        for each in self.layers:
            times = [f"{1e6 * seconds:.0f}" for seconds in each.seconds or ()] or ["", ""]
            made.add_row(each.name, f"{each.error:.4f}", *times, "int8" if each.int8 else "float")
        return made


def calibrate(folder: Path, images: Sequence[Path], least_agreement: float) -> Calibration:
    """Find how a model computes in int8, and write that beside it.

    Args:
        folder: with ``model.pt`` and ``spec.json``; gets ``int8.json``.
        images: files of images like those that it was trained on.
        least_agreement: on what share of images the top-1 class has to be the same as in float32.

    Raises:
        ValueError: too few images can be read, or the model has nothing that int8 could compute.
        CalibrationError: no choice of layers agrees; nothing is written.
    """
    path, file = folder / MODEL, folder / FILE_NAME
    file.unlink(missing_ok=True)
    classifier = Classifier(folder, precision="float32")
    rows = _read(classifier, images)
    if len(rows) < LEAST_IMAGES:
        raise ValueError(
            f"expected at least {LEAST_IMAGES} images to calibrate on, found {len(images)} of "
            f"which {len(rows)} can be read: add images like those that the model was trained on"
        )
    # Every other one, so that both parts have all of a folder.
    half = min(OBSERVED, len(rows) // 2)
    observed = rows[: 2 * half : 2]
    compared = torch.cat([rows[1 : 2 * half : 2], rows[2 * half :]])
    every_layer = observe(path, observed.split(BATCH))
    if not every_layer.layers:
        raise ValueError(
            f"{path}: int8 needs convolutions or linear layers with constant weights, and there "
            "are none: leave --calibrate out"
        )
    errors = _errors(path, every_layer, observed[:FOR_ERRORS])
    every_layer = replace(every_layer, layers=frozenset(errors))
    timed = observed[:TIMED_BATCH]
    chosen, times = every_layer, dict[int, Seconds]()
    if can_quantize():
        times = layer_times(path, every_layer, timed)
        chosen = _without_slow_layers(path, every_layer, times, timed)
    exact = _outputs(classifier.network, compared)
    chosen, got = _agreeing(path, chosen, errors, compared, exact, least_agreement)
    said = [classifier.probabilities(each) for each in (exact, got)]
    chosen = replace(chosen, least_agreement=least_agreement)
    file.write_text(chosen.to_json() + "\n", encoding="utf-8")
    names = _names(path)
    return Calibration(
        quantization=chosen,
        layers=[
            LayerReport(names[layer], errors[layer], times.get(layer), layer in chosen.layers)
            for layer in sorted(every_layer.layers)
        ],
        observed=len(observed),
        compared=len(compared),
        same_top1=_same_top1(exact, got),
        probability_change=float((said[0] - said[1]).abs().max()),
        seconds=network_times(path, chosen, timed) if can_quantize() else None,
    )


def _read(classifier: Classifier, images: Sequence[Path]) -> Tensor:
    """What can be read of images, as the network takes them, ``(N, C, height, width)``."""
    size = classifier.batch(1).nbytes
    most = min(OBSERVED + COMPARED, max(2 * LEAST_IMAGES, MEMORY // size))
    found = []
    for image in track(images[:: max(1, -(-len(images) // most))], "reading images"):
        with suppress(ImageError, OSError):
            row = classifier.batch(1)
            classifier.prepare([classifier.decoder.decode(image.read_bytes())], row)
            found.append(torch.from_numpy(row).permute(0, 3, 1, 2))
    return torch.cat(found) if found else torch.empty(0)


def _outputs(network: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    return torch.cat([network(some) for some in rows.split(BATCH)])


def _same_top1(first: Tensor, second: Tensor) -> int:
    return int((first.argmax(1) == second.argmax(1)).sum())


def _agreeing(
    path: Path,
    fastest: Quantization,
    errors: dict[int, float],
    compared: Tensor,
    exact: Tensor,
    least_agreement: float,
) -> tuple[Quantization, Tensor]:
    """As many layers as agree with float32, and what the model then returns."""
    worst_first = sorted(fastest.layers, key=lambda layer: -errors[layer])
    for count in (n for n in IN_FLOATING_POINT if n < len(worst_first)):
        chosen = replace(fastest, layers=fastest.layers - frozenset(worst_first[:count]))
        got = _outputs(Network(path, "int8", quantization=chosen), compared)
        if _same_top1(exact, got) >= least_agreement * len(exact):
            return chosen, got
    raise CalibrationError(
        f"in int8 the top-1 class is the same as in float32 on {_same_top1(exact, got)} of "
        f"{len(exact)} images, with {len(chosen.layers)} layers of {len(errors)}; expected "
        f"{least_agreement:.1%}: calibrate on images like those that the model was trained on, "
        "lower --least-agreement, or serve it in another precision"
    )


def _errors(path: Path, every_layer: Quantization, batch: Tensor) -> dict[int, float]:
    """By layer, as in :class:`LayerReport`; without those that oneDNN cannot compute."""
    errors = {}
    with torch.inference_mode():
        exact = load_frozen(path)(batch)
        spread = (exact - exact.mean(0)).norm().clamp_min(1e-12)
        for layer in track(sorted(every_layer.layers), "finding the error of each layer"):
            model = load_frozen(path)
            with suppress(RuntimeError):
                alone = replace(every_layer, layers=frozenset([layer]))
                quantize(model.graph, alone, torch.float32)
                errors[layer] = float((model(batch) - exact).norm() / spread)
    return errors


def _without_slow_layers(
    path: Path, every_layer: Quantization, times: dict[int, Seconds], batch: Tensor
) -> Quantization:
    """Without the layers that int8 makes hardly faster, unless the network is slower so."""
    slow = frozenset(layer for layer, each in times.items() if each.int8 > WORTH_IT * each.floating)
    if not slow or slow == every_layer.layers:
        return every_layer
    some = replace(every_layer, layers=every_layer.layers - slow)
    # As shares of the same network in floating point, which both were timed beside.
    shares = [
        each.int8 / each.floating
        for each in (network_times(path, some, batch), network_times(path, every_layer, batch))
    ]
    return some if shares[0] < SAME_TIME * shares[1] else every_layer


def _names(path: Path) -> dict[int, str]:
    """Of each layer."""
    model = load_frozen(path)
    layers = QuantizableGraph(model.graph).layers
    return {number: _name(layer) for number, (layer, _) in layers.items()}


def _name(layer: Layer) -> str:
    out, in_, *window = layer.weight.shape
    if layer.geometry is None:
        return f"linear, {in_} to {out}"
    stride, _, _, groups = layer.geometry
    name = f"{'x'.join(map(str, window))} convolution, {in_ * groups} to {out}"
    if groups > 1:
        name += f" in {groups} groups"
    if max(stride) > 1:
        name += f", stride {max(stride)}"
    return name
