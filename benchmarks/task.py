"""What is served in a benchmark: a model, images that all differ, and what they show."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import nn

from falconet.cli.calibration import calibrate
from falconet.handler.classifier import Classifier
from falconet.handler.fastest import available
from falconet.handler.network import can_quantize
from falconet.handler.precision import Precision
from falconet.model.archive import INT8, MODEL, calibration_file
from falconet.model.export import export
from falconet.model.spec import Spec
from falconet.model.weights import PRETRAINED, Weights
from falconet.native.decode import decode

from .document import ROOT
from .images import encode, photographs

SAMPLES = ROOT / "tests" / "images" / "cifar10"
SMALL, PHOTOGRAPHS = 1024, 64  # how many different ones
CALIBRATED_ON = 96
MOVED = 3  # pixels, at most


@dataclass(frozen=True)
class Task:
    """A model and the requests for it.

    Attributes:
        name: for the tables.
        folder: with ``model.pt`` and ``spec.json``.
        images: JPEG files, all different.
        float32: the label of each, found in this process in float32.
        served: likewise, in the precision that Falconet serves in on this machine.
        precision: that one.
    """

    name: str
    folder: Path
    images: list[bytes]
    float32: list[str]
    served: list[str]
    precision: Precision

    @classmethod
    def of(cls, name: str, folder: Path, images: list[bytes]) -> "Task":
        """Finds the labels."""
        allowed = ["bfloat16", "float32"]
        if (folder / INT8).is_file():
            allowed.insert(0, "int8")
        precision, *_ = available(allowed)
        float32, served = (
            _labels(Classifier(folder, precision=each), images) for each in ("float32", precision)
        )
        return cls(name, folder, images, float32, served, precision)

    def on_gpu(self) -> "Task":
        """The same with the labels found by a GPU, in the precision that it serves in."""
        classifier = Classifier(self.folder, precision="auto", device="cuda")
        labels = _labels(classifier, self.images)
        return replace(self, served=labels, precision=classifier.network.precision)


def small_images() -> list[bytes]:
    """Of 32x32: the sixteen real ones of the tests, moved by some pixels and mirrored."""
    random = np.random.default_rng(0)
    real = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(SAMPLES.iterdir())]
    images: dict[bytes, None] = {}  # in order, and each once
    while len(images) < SMALL:
        pixels = np.pad(real[len(images) % len(real)], ((MOVED,) * 2,) * 2 + ((0, 0),), "reflect")
        top, left = random.integers(0, 2 * MOVED + 1, 2)
        pixels = pixels[top : top + 32, left : left + 32]
        if random.random() < 0.5:
            pixels = pixels[:, ::-1]
        # Light as on another day; and no two alike.
        pixels = (pixels * random.uniform(0.85, 1.15)).clip(0, 255).astype(np.uint8)
        images[encode(pixels, 95)] = None
    return list(images)


def large_images() -> list[bytes]:
    """Photographs of 500x375."""
    return [encode(each) for each in photographs(PHOTOGRAPHS, 500, 375)]


@contextmanager
def cifar() -> Iterator[Task]:
    """The included model, and 32x32 images."""
    with TemporaryDirectory(prefix="falconet-") as folder:
        export(Weights.load(), Path(folder))
        if calibration_file(PRETRAINED).is_file():
            shutil.copyfile(calibration_file(PRETRAINED), Path(folder, INT8))
        yield Task.of("cifar", Path(folder), small_images())


@contextmanager
def one_layer() -> Iterator[Task]:
    """A network of one layer, for the same images: what serving takes without a network."""
    torch.manual_seed(0)
    spec = replace(Weights.load().spec, top_k=5)
    network = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, len(spec.classes))).eval()
    with TemporaryDirectory(prefix="falconet-") as folder:
        spec.save(Path(folder))
        traced = torch.jit.trace(network, torch.zeros(1, 3, *spec.size))
        traced.save(str(Path(folder, MODEL)))
        yield Task.of("one_layer", Path(folder), small_images())


@contextmanager
def resnet(depth: int = 18, *, int8: bool = True) -> Iterator[Task]:
    """A ResNet at 224 with random weights, in int8 where the CPU can, and 500x375 photographs.

    Random weights would find the same class in all images; a bias is set so that they do not.
    """
    import torchvision

    torch.manual_seed(0)
    network = getattr(torchvision.models, f"resnet{depth}")(num_classes=1000).eval()
    spec = Spec((224, 224), tuple(f"class {i}" for i in range(1000)), resize=256)
    pixels = photographs(PHOTOGRAPHS, 500, 375)
    with torch.inference_mode():
        logits = network(torch.from_numpy(spec.preprocessor()(pixels)))
        network.fc.bias -= logits.mean(0)
        network.fc.weight *= 10 / (logits - logits.mean(0)).abs().max()
    with TemporaryDirectory(prefix="falconet-") as folder:
        spec.save(Path(folder))
        traced = torch.jit.trace(network, torch.zeros(1, 3, 224, 224))
        torch.jit.freeze(traced).save(str(Path(folder, MODEL)))
        if int8 and can_quantize():
            # Of random weights no class is far from the next: how many stay is no question here.
            calibrate(Path(folder), _written(Path(folder, "calibration")), least_agreement=0)
        yield Task.of(f"resnet{depth}", Path(folder), large_images())


def _written(folder: Path) -> list[Path]:
    """Photographs as files."""
    folder.mkdir()
    files = [folder / f"{i}.jpg" for i in range(CALIBRATED_ON)]
    for file, pixels in zip(files, photographs(CALIBRATED_ON, 500, 375), strict=True):
        file.write_bytes(encode(pixels))
    return files


def _labels(classifier: Classifier, images: Sequence[bytes]) -> list[str]:
    found = []
    for start in range(0, len(images), 16):
        pixels = [decode(data, 10**7) for data in images[start : start + 16]]
        found += [best[0].label for best in classifier.classify(pixels)]
    return found
