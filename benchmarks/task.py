"""What is served in a benchmark: a model, pictures that all differ, and what they show."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from falconet.handler.classifier import Classifier
from falconet.handler.network import Precision
from falconet.model.archive import MODEL
from falconet.model.export import export
from falconet.model.spec import Spec
from falconet.model.weights import Weights
from falconet.native.decode import decode

from .document import ROOT
from .pictures import encode, photographs

SAMPLES = ROOT / "tests" / "pictures" / "cifar10"
SMALL, PHOTOGRAPHS = 1024, 64  # how many different ones
MOVED = 3  # pixels, at most


@dataclass(frozen=True)
class Task:
    """A model and the requests for it.

    Attributes:
        name: for the tables.
        folder: with ``model.pt`` and ``spec.json``.
        pictures: JPEG files, all different.
        float32: the label of each, found in this process in float32.
        served: likewise, in the precision that Falconet serves in on this machine.
    """

    name: str
    folder: Path
    pictures: list[bytes]
    float32: list[str]
    served: list[str]

    @classmethod
    def of(cls, name: str, folder: Path, pictures: list[bytes]) -> "Task":
        """Finds the labels."""
        float32, served = (_labels(folder, pictures, each) for each in ("float32", "auto"))
        return cls(name, folder, pictures, float32, served)


def small_pictures() -> list[bytes]:
    """Of 32x32: the sixteen real ones of the tests, moved by some pixels and mirrored."""
    random = np.random.default_rng(0)
    real = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(SAMPLES.iterdir())]
    pictures: dict[bytes, None] = {}  # in order, and each once
    while len(pictures) < SMALL:
        pixels = np.pad(real[len(pictures) % len(real)], ((MOVED,) * 2,) * 2 + ((0, 0),), "reflect")
        top, left = random.integers(0, 2 * MOVED + 1, 2)
        pixels = pixels[top : top + 32, left : left + 32]
        if random.random() < 0.5:
            pixels = pixels[:, ::-1]
        # Light as on another day; and no two alike.
        pixels = (pixels * random.uniform(0.85, 1.15)).clip(0, 255).astype(np.uint8)
        pictures[encode(pixels, 95)] = None
    return list(pictures)


def large_pictures() -> list[bytes]:
    """Photographs of 500x375."""
    return [encode(each) for each in photographs(PHOTOGRAPHS, 500, 375)]


@contextmanager
def cifar() -> Iterator[Task]:
    """The shipped model, and 32x32 pictures."""
    with TemporaryDirectory(prefix="falconet-") as folder:
        export(Weights.load(), Path(folder))
        yield Task.of("cifar", Path(folder), small_pictures())


@contextmanager
def resnet() -> Iterator[Task]:
    """ResNet-18 at 224 with random weights, and 500x375 photographs.

    Random weights would find the same class in all pictures; a bias is set so that they do not.
    """
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18(num_classes=1000).eval()
    spec = Spec((224, 224), tuple(f"class {i}" for i in range(1000)), resize=256)
    pixels = photographs(PHOTOGRAPHS, 500, 375)
    with torch.inference_mode():
        logits = network(torch.from_numpy(spec.preprocessor()(pixels)))
        network.fc.bias -= logits.mean(0)
        network.fc.weight *= 10 / (logits - logits.mean(0)).abs().max()
    with TemporaryDirectory(prefix="falconet-") as folder:
        spec.save(Path(folder))
        torch.jit.trace(network, torch.zeros(1, 3, 224, 224)).save(str(Path(folder, MODEL)))
        yield Task.of("resnet", Path(folder), large_pictures())


def _labels(folder: Path, pictures: Sequence[bytes], precision: Precision) -> list[str]:
    classifier = Classifier(folder, precision=precision)
    found = []
    for start in range(0, len(pictures), 16):
        pixels = [decode(data, 10**7) for data in pictures[start : start + 16]]
        found += [best[0].label for best in classifier.classify(pixels)]
    return found
