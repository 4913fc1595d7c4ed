"""Which layers of a model may compute in 8-bit integers, and on which values."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from falconet.handler.classifier import Classifier
from falconet.handler.network import (
    Network,
    Precision,
    can_quantize,
    fast_bfloat16,
    load_frozen,
)
from falconet.handler.quantization import (
    FILE_NAME,
    LEVELS,
    Places,
    Quantization,
    Range,
    fingerprint,
    quantize,
)
from falconet.model.archive import MODEL
from falconet.native.errors import PictureError
from falconet.native.output import probabilities

Item = TypeVar("Item")

# Images whose values are observed, and others that predictions are compared on; in memory, in
# bytes, unless that were less than the least.
OBSERVED, COMPARED, LEAST_IMAGES = 128, 1000, 64
MEMORY = 1 << 29
BATCH = 4
# Images by which the error of each layer is found, and the size of the batches that are timed.
FOR_ERRORS, TIMED_BATCH, TIMED_RUNS = 16, 8, 5
# Values of a batch that are kept at each place, to choose its range by.
KEPT = 4096
# Of what was seen, how much a range may span.
SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
# How many of the layers with the largest errors are tried in floating point.
LEFT_OUT = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
# The operators of layers.
TIMED = {
    *("_convolution_pointwise", "_convolution_pointwise_", "conv2d", "convolution", "_convolution"),
    *("linear", "addmm", "mm", "qconv2d_pointwise", "qlinear_pointwise"),
}


class CalibrationError(RuntimeError):
    """No choice of layers agrees with the model in float32 as it is to."""


@dataclass(frozen=True)
class LayerReport:
    """One layer.

    Attributes:
        name: its kind, channels and size.
        error: of what the model returns if this layer alone computes in 8-bit integers: the
            distance from float32, as a share of the distance from the images' mean.
        seconds: for a batch of :data:`TIMED_BATCH` on one thread: in bfloat16 where the CPU is fast
            in it, or float32; and in 8-bit integers.
        int8: whether it computes in 8-bit integers.
    """

    name: str
    error: float
    seconds: tuple[float, float] | None
    int8: bool


@dataclass(frozen=True)
class Calibration:
    """How a model in 8-bit integers compares with itself in float32.

    Attributes:
        quantization: which layers, and the ranges of values.
        layers: each.
        observed: how many images' values were observed.
        compared: on how many others the predictions were compared.
        same_top1: on how many of those the class is the same.
        moved: the largest change of a probability.
        seconds: for a batch of :data:`TIMED_BATCH` on one thread, as in :class:`LayerReport`.
    """

    quantization: Quantization
    layers: list[LayerReport]
    observed: int
    compared: int
    same_top1: int
    moved: float
    seconds: tuple[float, float] | None

    def __str__(self) -> str:
        chosen = sum(each.int8 for each in self.layers)
        text = (
            f"{chosen} of {len(self.layers)} layers, observed on {self.observed} images; on "
            f"{self.compared} others the top-1 class is the same as in float32 on "
            f"{self.same_top1}, probabilities differ by at most {self.moved:.2g}"
        )
        if self.seconds is not None:
            floating, integers = (1e3 * each / TIMED_BATCH for each in self.seconds)
            text += f"; {integers:.2f} ms an image instead of {floating:.2f} ms"
        return text

    def table(self) -> Table:
        """The layers, for a person."""
        made = Table("layer", "error alone", "us", "us in int8", "computes in", box=None)
        for each in self.layers:
            times = ["", ""]
            if each.seconds is not None:
                times = [f"{1e6 * seconds:.0f}" for seconds in each.seconds]
            made.add_row(each.name, f"{each.error:.4f}", *times, "int8" if each.int8 else "float")
        return made


def calibrate(folder: Path, images: Sequence[Path], least_agreement: float) -> Calibration:
    """Find how a model computes in 8-bit integers, and write that beside it.

    Args:
        folder: with ``model.pt`` and ``spec.json``; gets ``int8.json``.
        images: files of images like those that it was trained on.
        least_agreement: on what share of images the top-1 class has to be the same as in float32.

    Raises:
        ValueError: there are too few images that can be read, or nothing in the model that can
            compute so.
        CalibrationError: no choice of layers agrees; nothing is written.
    """
    (folder / FILE_NAME).unlink(missing_ok=True)
    path = folder / MODEL
    classifier = Classifier(folder, precision="float32")
    rows = _read(classifier, images)
    if len(rows) < LEAST_IMAGES:
        raise ValueError(
            f"expected at least {LEAST_IMAGES} images to calibrate on that can be read, got "
            f"{len(rows)}"
        )
    # Every other one, so that both parts have all of a folder.
    half = min(OBSERVED, len(rows) // 2)
    observed = rows[: 2 * half : 2]
    compared = torch.cat([rows[1 : 2 * half : 2], rows[2 * half :]])
    every = observe(path, observed.split(BATCH))
    if not every.layers:
        raise ValueError(f"{path}: expected convolutions or linear layers with constant weights")
    exact = torch.cat([classifier.network(some) for some in compared.split(BATCH)])
    errors = _errors(path, every, observed[:FOR_ERRORS])
    fastest, seconds = every, None
    times: dict[int, tuple[float, float]] = {}
    if can_quantize():
        fastest, times, seconds = _fastest(path, every, observed[:TIMED_BATCH])
    worst_first = sorted(fastest.layers, key=lambda layer: -errors[layer])
    for count in (n for n in LEFT_OUT if n < len(worst_first)):
        chosen = replace(fastest, layers=fastest.layers - frozenset(worst_first[:count]))
        network = Network(path, "int8", quantization=chosen)
        got = torch.cat([network(some) for some in compared.split(BATCH)])
        same = int((got.argmax(1) == exact.argmax(1)).sum())
        if same >= least_agreement * len(exact):
            break
    else:
        raise CalibrationError(
            f"in int8 the top-1 class is the same as in float32 on {same} of {len(exact)} images, "
            f"with {len(chosen.layers)} of {len(every.layers)} layers; expected "
            f"{least_agreement:.1%}: calibrate on images like those that the model was trained on, "
            "lower --least-agreement, or serve it in another precision"
        )
    said = [probabilities(classifier.output, each) for each in (exact, got)]
    if seconds is not None and chosen.layers != fastest.layers:
        seconds = _seconds(path, chosen, observed[:TIMED_BATCH])
    (folder / FILE_NAME).write_text(chosen.to_json() + "\n", encoding="utf-8")
    names = _names(path)
    return Calibration(
        quantization=chosen,
        layers=[
            LayerReport(names[layer], errors[layer], times.get(layer), layer in chosen.layers)
            for layer in sorted(every.layers)
        ],
        observed=len(observed),
        compared=len(compared),
        same_top1=same,
        moved=float((said[0] - said[1]).abs().max()),
        seconds=seconds,
    )


def _read(classifier: Classifier, images: Sequence[Path]) -> Tensor:
    """What can be read of images, as the network takes them, ``(N, C, height, width)``."""
    size = classifier.batch(1).nbytes
    most = min(OBSERVED + COMPARED, max(2 * LEAST_IMAGES, MEMORY // size))
    found = []
    for image in _track(images[:: max(1, -(-len(images) // most))], "reading images"):
        with suppress(PictureError, OSError):
            row = classifier.batch(1)
            classifier.prepare([classifier.decoder.decode(image.read_bytes())], row)
            found.append(torch.from_numpy(row).permute(0, 3, 1, 2))
    return torch.cat(found) if found else torch.empty(0)


def _track(items: Sequence[Item], doing: str) -> Iterable[Item]:
    console = Console(stderr=True)
    return track(items, doing, console=console, transient=True, disable=not console.is_terminal)


def _errors(path: Path, every: Quantization, batch: Tensor) -> dict[int, float]:
    """By layer, as in :class:`LayerReport`."""
    errors = {}
    with torch.inference_mode():
        exact = load_frozen(path)(batch)
        spread = (exact - exact.mean(0)).norm().clamp_min(1e-12)
        for layer in _track(sorted(every.layers), "finding the error of each layer"):
            model = load_frozen(path)
            quantize(model.graph, replace(every, layers=frozenset([layer])), torch.float32)
            errors[layer] = float((model(batch) - exact).norm() / spread)
    return errors


def _fastest(
    path: Path, every: Quantization, batch: Tensor
) -> tuple[Quantization, dict[int, tuple[float, float]], tuple[float, float]]:
    """The layers that are faster in 8-bit integers, the times of all, and of the network."""
    times = _layer_times(path, every, batch)
    seconds = _seconds(path, every, batch)
    slower = frozenset(
        layer for layer, (floating, integers) in times.items() if integers > floating
    )
    if slower and slower != every.layers:
        some = replace(every, layers=every.layers - slower)
        without = _seconds(path, some, batch)
        if without[1] / without[0] < seconds[1] / seconds[0]:
            return some, times, without
    return every, times, seconds


class _Times(TorchDispatchMode):
    """Takes the time of each layer, in the order that they are computed in."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.of: list[float] = []
        self._conversions = 0.0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # imports the compiler otherwise

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        began = perf_counter()
        result = func(*args, **(kwargs or {}))
        took = perf_counter() - began
        name = func.overloadpacket.__name__  # type: ignore[attr-defined]
        if name == "quantize":
            self._conversions += took
        elif name in TIMED:
            self.of.append(took + self._conversions)
            self._conversions = 0.0
        return result


def _layer_times(path: Path, every: Quantization, batch: Tensor) -> dict[int, tuple[float, float]]:
    """By layer, with what turns its input into bytes; none where they cannot be told apart."""
    model = load_frozen(path)
    places = Places(model.graph)
    in_order = sorted(
        places.layers, key=lambda n: places.number[places.layers[n][1].last.output().debugName()]
    )
    found = []
    for network in _pair(path, every, batch):
        runs = []
        for _ in range(TIMED_RUNS):
            with _one_thread(), _Times() as times:
                network(batch)
            runs.append(times.of)
        if len({len(run) for run in runs}) != 1 or len(runs[0]) != len(in_order):
            return {}
        found.append([min(each) for each in zip(*runs, strict=True)])
    return {
        layer: (floating, integers)
        for layer, floating, integers in zip(in_order, *found, strict=True)
    }


def _pair(path: Path, chosen: Quantization, batch: Tensor) -> tuple[Network, Network]:
    """The model in what it is served in without integers, and with them."""
    picture = (int(batch.shape[1]), int(batch.shape[2]), int(batch.shape[3]))
    floating: Precision = "bfloat16" if fast_bfloat16() else "float32"
    networks = (
        Network(path, floating, picture=picture),
        Network(path, "int8", picture=picture, quantization=chosen),
    )
    for network in networks:
        for _ in range(3):  # TorchScript looks at the first runs, and then optimizes
            network(batch)
    return networks


def _seconds(path: Path, chosen: Quantization, batch: Tensor) -> tuple[float, float]:
    """For a batch in floating point, and in 8-bit integers: medians, taken in turn."""
    networks = _pair(path, chosen, batch)
    taken: list[list[float]] = [[], []]
    with _one_thread():
        for _ in range(TIMED_RUNS):
            for network, times in zip(networks, taken, strict=True):
                began = perf_counter()
                network(batch)
                times.append(perf_counter() - began)
    floating, integers = (statistics.median(each) for each in taken)
    return floating, integers


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _names(path: Path) -> dict[int, str]:
    """Of each layer."""
    model = load_frozen(path)
    places, found = Places(model.graph), {}
    for number, (layer, _) in places.layers.items():
        out, in_, *window = layer.weight.shape
        if layer.geometry is None:
            found[number] = f"linear, {in_} to {out}"
            continue
        stride, _, _, groups = layer.geometry
        found[number] = f"{'x'.join(map(str, window))} convolution, {in_ * groups} to {out}"
        if groups > 1:
            found[number] += f" in {groups} groups"
        if max(stride) > 1:
            found[number] += f", stride {max(stride)}"
    return found


@dataclass
class _Seen:
    """Of the values at one place."""

    least: float = 0.0
    most: float = 0.0
    some: list[Tensor] = field(default_factory=list)

    def add(self, values: Tensor, generator: torch.Generator) -> None:
        values = values.flatten()
        self.least = min(self.least, float(values.min()))
        self.most = max(self.most, float(values.max()))
        # By chance, as steps would meet the same channels again and again.
        chosen = torch.randint(len(values), (min(KEPT, len(values)),), generator=generator)
        self.some.append(values[chosen])

    def range(self) -> Range:
        """The one in which rounding and cutting off change the values least."""
        values = torch.cat(self.some)
        tried = [Range(self.least * share, self.most * share) for share in SHARES]
        return min(tried, key=lambda each: _change(values, each))


def _change(values: Tensor, within: Range) -> float:
    units = (values / within.scale).round() + within.zero
    back = (units.clamp(0, LEVELS) - within.zero) * within.scale
    return float((back - values).square().sum())


def observe(path: Path, batches: Sequence[Tensor]) -> Quantization:
    """The values in a TorchScript model, all of whose layers may compute in 8-bit integers.

    Args:
        path: of the file.
        batches: float32, ``(N, C, height, width)``.

    Raises:
        ValueError: its graph is not frozen into one.
    """
    model = load_frozen(path)
    graph = model.graph.copy()
    places = Places(graph)
    module, given = graph.inputs()
    if module.uses():
        raise ValueError(f"{path}: cannot be frozen, as it changes its own state")
    every = frozenset(places.layers)
    wanted = sorted(places.bytes_at(every))
    mark = fingerprint(graph)
    # All of them become what the graph returns.
    graph.eraseInput(0)
    graph.eraseOutput(0)
    for number in wanted:
        graph.registerOutput(given if number == -1 else places.values[number])
    for layer, _ in places.layers.values():
        graph.registerOutput(layer.input)
    graph.makeMultiOutputIntoTuple()
    torch._C._jit_pass_dce(graph)
    run = torch._C._create_function_from_graph("observe", graph)
    seen = {number: _Seen() for number in wanted}
    shapes: dict[int, tuple[int, ...]] = {}
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for batch in _track(batches, "observing values"):
            found = run(batch) if wanted else ()
            for number, values in zip(wanted, found, strict=False):
                seen[number].add(values, generator)
            for number, value in zip(places.layers, found[len(wanted) :], strict=True):
                shapes[number] = tuple(value.shape[1:])
    return Quantization(mark, {n: each.range() for n, each in seen.items()}, shapes, every)
