"""Whether a device computes what a CPU does: in training, and in serving."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from falconet.handler.classifier import Classifier
from falconet.handler.network import Network
from falconet.handler.precision import Precision
from falconet.model.export import export
from falconet.model.weights import Weights
from falconet.native.decode import decode
from falconet.training import recipes
from falconet.training import train as training
from falconet.training.run import Run

from . import images
from .child import python
from .steps import CheckError, Found, MissingError, Step

PART = "checks"
# TF32 keeps ten bits of a factor, and bfloat16 seven: their errors are above 1e-4.
FLOAT32_ERROR = 1e-5
LOGITS_ERROR = 1e-3  # what folding may change, too
CLOSE = 0.1  # logits that differ less may change places when they are rounded
LEAST_AGREEMENT = 0.99
BATCH = 64
# Without dropout, whose chance is the device's own, and without batch norm, which multiplies what
# rounding makes of its inputs.
SAME = (
    *("hold_out=stratified", "validation=64", "epochs=3", "batch_size=32", "learning_rate=0.01"),
    *("rotate=10", "shift=0.1", "flip=random", "translate=2", "cutout=6", "precision=float32"),
)
LOSS_ERROR, WEIGHT_ERROR = 1e-3, 2e-3
RESUMED = ("widths=16,16,16", "validation=64", "batch_size=64", "epochs=3", "deterministic=true")
STOPPED_AFTER = 1  # epochs
PROCESSES, PASSES = 2, 2


@dataclass(frozen=True)
class Checks:
    """The checks of a device.

    Attributes:
        device: ``"cuda"`` or ``"cpu"``.
        folder: for files of theirs.
    """

    device: str
    folder: Path

    def steps(self) -> list[Step]:
        """All of them, with the seconds that they took on two cores, or a little more."""
        return [
            Step("computes_in_float32", PART, 5, self.computes_in_float32),
            Step("serves_same_classes", PART, 10, self.serves_same_classes),
            Step("pins_memory", PART, 3, self.pins_memory),
            Step("two_workers", PART, 20, self.two_workers),
            Step("trains_as_cpu", PART, 20, self.trains_as_cpu),
            Step("resumes_bit_for_bit", PART, 15, self.resumes_bit_for_bit),
        ]

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
        """Logits of the images by the CPU in float32."""
        return logits(Classifier(self.model, precision="float32"))

    def computes_in_float32(self, left: float) -> Found:
        """What a file in float32 computes, beside float64: that no layer is in TF32."""
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
        found = {"relative_error": error, "most": FLOAT32_ERROR}
        if error > FLOAT32_ERROR:
            raise CheckError(
                f"expected an error of at most {FLOAT32_ERROR}, got {error:.2g}", found
            )
        return found

    def serves_same_classes(self, left: float) -> Found:
        """The classes in each precision beside those of the CPU in float32."""
        found: Found = {}
        wanted: tuple[Precision, ...] = ("float32", "bfloat16", "auto")
        for precision in wanted:
            classifier = Classifier(self.model, precision=precision, device=self.device)
            served = classifier.network.precision
            found[f"{precision}: {served}"] = compare(self.expected, logits(classifier))
        exact = found["float32: float32"]["largest_difference"]
        wrong = [name for name, each in found.items() if not each["same_classes"]]
        if self.device == "cuda" and "auto: float16" not in found:
            wrong.append("auto, which is not float16")
        if wrong or exact > LOGITS_ERROR:
            raise CheckError(
                f"expected the same classes as on the CPU, and logits within {LOGITS_ERROR} in "
                f"float32, got others in {wrong or 'none'} and {exact:.2g}",
                found,
            )
        return found

    def pins_memory(self, left: float) -> Found:
        """Batches are in memory that a GPU reads by itself."""
        if self.device != "cuda":
            raise MissingError("only batches for a GPU are in pinned memory")
        classifier = Classifier(self.model, device=self.device)
        pinned = [torch.from_numpy(classifier.batch(size)).is_pinned() for size in (1, 16)]
        if not all(pinned):
            raise CheckError(f"expected pinned batches of 1 and 16, got {pinned}", {})
        return {"pinned": pinned}

    def two_workers(self, left: float) -> Found:
        """Two processes with a model each, at the same time, on one device."""
        with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as processes:
            tasks = [processes.submit(work, self.model, self.device) for _ in range(PROCESSES)]
            done = [task.result() for task in tasks]
        began, ended = max(each.began for each in done), min(each.ended for each in done)
        found: Found = {
            "seconds_together": round(ended - began, 2),
            "images_per_second": [
                round(PASSES * len(each.logits) / (each.ended - each.began)) for each in done
            ],
            "worker": [compare(self.expected, each.logits) for each in done],
        }
        if not all(each["same_classes"] for each in found["worker"]):
            raise CheckError("expected the same classes as on the CPU, got others", found)
        if began >= ended:
            raise CheckError("expected two processes at the same time, got them in turn", found)
        return found

    def trains_as_cpu(self, left: float) -> Found:
        """The same run in a process without a GPU: losses and weights within tolerance."""
        recipe = recipes.load("lenet").override(SAME)
        with self._runs() as folder:
            fields = ["train", recipe.name, *SAME, "--data", str(self.data)]
            python(
                "falconet.cli",
                [*fields, "--output", str(folder / "cpu")],
                self.folder / "trains_as_cpu.log",
                left,
                {**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            )
            mine = state(training.train(recipe, self.data, folder / "here"))
            theirs = state(Weights.load(folder / "cpu" / "weights.pt"))
            rows = [Run(folder / name).rows() for name in ("here", "cpu")]
            devices = [
                "cpu" if name == "cpu" else Run(folder / name).environment()["device"]
                for name in ("here", "cpu")
            ]
        losses = [[float(row["loss"]) for row in each] for each in rows]
        loss = max(abs(a - b) for a, b in zip(*losses, strict=True))
        weight = max((mine[name] - theirs[name]).abs().max().item() for name in mine)
        found = {"devices": devices, "losses": losses, "loss_error": loss, "weight_error": weight}
        if loss > LOSS_ERROR or weight > WEIGHT_ERROR or losses[0][-1] >= losses[0][0]:
            raise CheckError(
                f"expected falling losses within {LOSS_ERROR} and weights within {WEIGHT_ERROR} "
                f"of the CPU's, got {loss:.2g} and {weight:.2g}",
                found,
            )
        return found

    def resumes_bit_for_bit(self, left: float) -> Found:
        """Two deterministic runs, one of them stopped and resumed, end with the same bits."""
        recipe = recipes.load("fast94").override(RESUMED)
        with self._runs() as folder:
            whole = state(training.train(recipe, self.data, folder / "whole"))
            with saving_each_epoch():
                with suppress(InterruptedError):
                    training.train(recipe, self.data, folder / "part", on_epoch=stop)
                stopped = len(Run(folder / "part").rows())
                part = state(training.train(recipe, self.data, folder / "part", resume=True))
        torch.use_deterministic_algorithms(False)  # which others need not be
        different = [name for name in whole if not torch.equal(whole[name], part[name])]
        found = {"stopped_after": stopped, "epochs": recipe.epochs, "different": different}
        if different or stopped != STOPPED_AFTER:
            raise CheckError(
                f"expected the same weights after a stop after {STOPPED_AFTER} epoch, got "
                f"{len(different)} that differ, after {stopped}",
                found,
            )
        return found

    @contextmanager
    def _runs(self) -> Iterator[Path]:
        """A folder that is empty each time."""
        with TemporaryDirectory(dir=self.folder) as folder:
            yield Path(folder)


@dataclass(frozen=True)
class Work:
    """What a worker did, when by :func:`time.time`, and its logits."""

    began: float
    ended: float
    logits: Tensor


def work(model: Path, device: str) -> Work:
    """Classify all images several times, in a process of its own."""
    classifier = Classifier(model, device=device)
    logits(classifier)
    began = time.time()
    for _ in range(PASSES):
        found = logits(classifier)
    return Work(began, time.time(), found)


def logits(classifier: Classifier) -> Tensor:
    """``(N, classes)``, for all images, in batches as served."""
    pixels = [decode(data, 10**6) for data, _ in images.labelled()]
    found = []
    for start in range(0, len(pixels), BATCH):
        batch = classifier.batch(len(pixels[start : start + BATCH]))
        classifier.prepare(pixels[start : start + BATCH], batch)
        found.append(classifier.logits(batch))
    return torch.cat(found)


def compare(expected: Tensor, got: Tensor) -> Found:
    """Whether logits name the same classes, but for those that are close to each other."""
    same = expected.argmax(1) == got.argmax(1)
    best = expected.topk(2).values
    far = best[:, 0] - best[:, 1] > CLOSE
    agreement = same.float().mean().item()
    return {
        "images": len(expected),
        "same": int(same.sum()),
        "largest_difference": (expected - got).abs().max().item(),
        "same_classes": bool(same[far].all()) and agreement >= LEAST_AGREEMENT,
    }


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
