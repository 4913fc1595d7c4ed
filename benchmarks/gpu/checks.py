"""Checks that a device computes the same as a CPU, in training and in serving."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from falconet.handler.classifier import Classifier
from falconet.handler.network import Network
from falconet.handler.precision import Precision
from falconet.model import storage
from falconet.model.export import export
from falconet.model.weights import Weights
from falconet.training import recipes
from falconet.training import train as training
from falconet.training.run import Run

from . import child, images, workers
from .logits import compare, logits
from .steps import CheckError, Figures, Findings, SkippedError, Step, StoppedError

PART = "checks"
# Expected seconds of each check in its process, on two cores.
SECONDS = {
    "computes_in_float32": 5.0,
    "serves_same_classes": 8.0,
    "pins_memory": 5.0,
    "two_workers": 15.0,
    "trains_as_cpu": 25.0,
    "resumes_bit_for_bit": 12.0,
}
HANGS_AFTER = 120.0  # seconds
GPU_ONLY = {
    "pins_memory": "only batches for a GPU are in pinned memory",
    "trains_as_cpu": "compares training on a GPU with training on the CPU",
}
# TF32 has ten mantissa bits, and bfloat16 seven: their errors are above 1e-4.
FLOAT32_ERROR = 1e-5
LOGITS_ERROR = 1e-3  # includes changes by folding
# Without dropout, whose random numbers differ between devices, and without batch norm, which
# amplifies rounding errors of its inputs.
SAME = (
    *("hold_out=stratified", "validation=64", "epochs=3", "batch_size=32", "learning_rate=0.01"),
    *("rotate=10", "shift=0.1", "flip=random", "translate=2", "cutout=6", "precision=float32"),
)
# Rounding in float32 changes the losses by up to 2e-4, and the weights after an epoch by up to 1e-4
# of their norm; the epoch itself changes them by 1e-2. A learning rate that is 5 % larger changes
# the losses by 6e-3; training without augmentation changes the weights by 3e-3.
LOSS_ERROR, WEIGHT_ERROR = 1e-3, 1e-3
FIRST = "first.pt"  # the checkpoint after the first epoch
RESUMED = ("widths=16,16,16", "validation=64", "batch_size=64", "epochs=3", "deterministic=true")
STOPPED_AFTER = 1  # epochs


def steps(device: str, folder: Path) -> list[Step]:
    """One for each check, in a child process.

    Args:
        device: ``"cuda"`` or ``"cpu"``.
        folder: for the files and logs of the checks.
    """
    found = []
    for name, seconds in SECONDS.items():
        expected = 0.0 if _only_on_gpu(name, device) else seconds
        run = partial(_check, name, device, folder)
        found.append(Step(name, PART, expected, run, always_run=True))
    return found


def _only_on_gpu(name: str, device: str) -> bool:
    return device == "cpu" and name in GPU_ONLY


def _check(name: str, device: str, folder: Path, seconds_left: float) -> Findings:
    if _only_on_gpu(name, device):
        raise SkippedError(GPU_ONLY[name])
    try:
        return child.measure(name, device, folder, min(seconds_left, HANGS_AFTER))
    except StoppedError:
        if seconds_left <= HANGS_AFTER or child.interrupted.is_set():
            raise
        raise CheckError(f"expected an end within {HANGS_AFTER:.0f} s, got none", {}) from None


@dataclass(frozen=True)
class Checks:
    """The checks of a device, each in its own process, because torch's flags are process-wide.

    Attributes:
        device: ``"cuda"`` or ``"cpu"``.
        folder: for the files of the checks.
    """

    device: str
    folder: Path

    @cached_property
    def model(self) -> Path:
        """A folder with the included model."""
        folder = self.folder / "model"
        folder.mkdir(parents=True, exist_ok=True)
        export(Weights.load(), folder)
        return folder

    @cached_property
    def data(self) -> Path:
        """A folder with labelled images."""
        return images.write(self.folder / "data")

    @cached_property
    def expected(self) -> Tensor:
        """Logits of the images, computed by the CPU in float32."""
        return logits(Classifier(self.model, precision="float32"))

    def computes_in_float32(self) -> Findings:
        """Compare a model file in float32 with float64, so that no layer computes in TF32."""
        torch.manual_seed(0)
        layers = (nn.Conv2d(64, 64, 3, padding=1), nn.Flatten(), nn.Linear(64 * 64, 32))
        network = nn.Sequential(*layers).eval()
        x = torch.randn(64, 64, 8, 8)
        file = self.folder / "layers.pt"
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.jit.freeze(torch.jit.trace(network, x)).save(str(file))
        with torch.inference_mode():
            exact = network.double()(x.double())
        served = Network(file, "float32", self.device)(x).double()
        error = ((served - exact).abs().max() / exact.abs().max()).item()
        figures = {"relative_error": error, "largest_allowed": FLOAT32_ERROR}
        if not error <= FLOAT32_ERROR:  # also fails on NaN
            raise CheckError(
                f"expected an error of at most {FLOAT32_ERROR}, got {error:.2g}", figures
            )
        return Findings(f"relative error {error:.1g}", figures)

    def serves_same_classes(self) -> Findings:
        """The classes in each precision compared with those of the CPU in float32."""
        figures: Figures = {}
        wanted: tuple[Precision, ...] = ("float32", "bfloat16", "auto")
        for precision in wanted:
            classifier = Classifier(self.model, precision=precision, device=self.device)
            served = classifier.network.precision
            figures[f"{precision}: {served}"] = compare(self.expected, logits(classifier))
        exact = figures["float32: float32"]["largest_difference"]
        wrong = [name for name, each in figures.items() if not each["same_classes"]]
        if self.device == "cuda" and "auto: float16" not in figures:
            wrong.append("auto, which is not float16")
        if wrong or not exact <= LOGITS_ERROR:
            raise CheckError(
                f"expected the same classes as on the CPU, and logits within {LOGITS_ERROR} in "
                f"float32, got others in {wrong or 'none'} and {exact:.2g}",
                figures,
            )
        same = [f"{name} {each['same']}/{each['images']}" for name, each in figures.items()]
        return Findings(f"same classes: {', '.join(same)}", figures)

    def pins_memory(self) -> Findings:
        """Batches are in pinned memory, which a GPU reads directly."""
        classifier = Classifier(self.model, device=self.device)
        pinned = [torch.from_numpy(classifier.batch(size)).is_pinned() for size in (1, 16)]
        if not all(pinned):
            raise CheckError(f"expected pinned batches of 1 and 16, got {pinned}", {})
        return Findings("batches are pinned", {"pinned": pinned})

    def two_workers(self) -> Findings:
        """Two processes with a model each, at the same time, on one device."""
        return workers.together(self.expected, workers.run(self.model, self.device))

    def trains_as_cpu(self) -> Findings:
        """The same run on the GPU and, in a process without one, on the CPU."""
        without = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        child.measure("train_alike", "cpu", self.folder, HANGS_AFTER, without)
        self.train_alike()
        return compare_runs(self._alike, Checks("cpu", self.folder)._alike)

    def train_alike(self) -> Findings:
        """One of the two runs of :meth:`trains_as_cpu`; not a check."""
        run = self._alike
        shutil.rmtree(run.folder, ignore_errors=True)

        def keep(row: training.Row) -> None:
            if row["epoch"] == 1:
                shutil.copy(run.checkpoint, run.folder / FIRST)

        with saving_each_epoch():
            recipe = recipes.load("lenet").override(SAME)
            training.train(recipe, self.data, run.folder, on_epoch=keep)
        return Findings("", {})

    @property
    def _alike(self) -> Run:
        return Run(self.folder / f"alike-{self.device}")

    def resumes_bit_for_bit(self) -> Findings:
        """Two deterministic runs, one of them stopped and resumed, end with the same bits."""
        recipe = recipes.load("fast94").override(RESUMED)
        self.folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.folder) as temporary:
            folder = Path(temporary)
            whole = state(training.train(recipe, self.data, folder / "whole"))
            with saving_each_epoch():
                with suppress(InterruptedError):
                    training.train(recipe, self.data, folder / "part", on_epoch=stop)
                stopped = len(Run(folder / "part").rows())
                part = state(training.train(recipe, self.data, folder / "part", resume=True))
        different = [name for name in whole if not torch.equal(whole[name], part[name])]
        figures = {"stopped_after": stopped, "epochs": recipe.epochs, "different": different}
        if different or stopped != STOPPED_AFTER:
            raise CheckError(
                f"expected the same weights after a stop after {STOPPED_AFTER} epoch, got "
                f"{len(different)} tensors that differ, after {stopped}",
                figures,
            )
        return Findings(f"all {len(whole)} tensors have the same bits", figures)


def compare_runs(gpu: Run, cpu: Run) -> Findings:
    """Compare all epochs' losses, and the weights after the first: rounding errors grow later."""
    devices = [run.environment()["device"] for run in (gpu, cpu)]
    losses = [[float(row["loss"]) for row in run.rows()] for run in (gpu, cpu)]
    loss = max(abs(a - b) for a, b in zip(*losses, strict=True))
    ours, theirs = (
        torch.cat([each.flatten() for each in storage.load(run.folder / FIRST)["network"].values()])
        for run in (gpu, cpu)
    )
    weights = ((ours - theirs).norm() / theirs.norm()).item()
    figures = {"devices": devices, "losses": losses, "loss_error": loss, "weight_error": weights}
    if devices[0] == "cpu" or devices[1] != "cpu":
        raise CheckError(f"expected runs on a GPU and on the CPU, got {devices}", figures)
    if not (loss <= LOSS_ERROR and weights <= WEIGHT_ERROR and losses[0][-1] < losses[0][0]):
        raise CheckError(
            f"expected falling losses within {LOSS_ERROR} of the CPU's, and weights within "
            f"{WEIGHT_ERROR} of their norm after an epoch, got {loss:.2g} and {weights:.2g}",
            figures,
        )
    return Findings(f"losses within {loss:.1g}, weights within {weights:.1g} of norm", figures)


def state(weights: Weights | None) -> dict[str, Tensor]:
    """The tensors of a network, on the CPU."""
    assert weights is not None  # in one process
    return {name: value.detach().cpu() for name, value in weights.network.state_dict().items()}


def stop(row: training.Row) -> None:
    if row["epoch"] == STOPPED_AFTER:
        raise InterruptedError("as by Ctrl-C")


@contextmanager
def saving_each_epoch() -> Iterator[None]:
    before = training.CHECKPOINT_SECONDS
    training.CHECKPOINT_SECONDS = 0.0
    try:
        yield
    finally:
        training.CHECKPOINT_SECONDS = before
