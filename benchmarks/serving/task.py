"""What is served in a benchmark: a model, pictures that all differ, and what they show."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from document import ROOT
from pictures import photographs
from PIL import Image

from falconet.handler.classifier import Classifier
from falconet.handler.decode import decode
from falconet.handler.network import Precision
from falconet.model.archive import MODEL
from falconet.model.export import export
from falconet.model.spec import Spec
from falconet.model.weights import Weights

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
        return cls(
            name,
            folder,
            pictures,
            float32=_labels(folder, pictures, "float32"),
            served=_labels(folder, pictures, "auto"),
        )


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
        pictures[_jpeg(pixels, 95)] = None
    return list(pictures)


def large_pictures() -> list[bytes]:
    """Photographs of 500x375."""
    return [_jpeg(each, 90) for each in photographs(PHOTOGRAPHS, 500, 375)]


def cifar(folder: Path) -> Task:
    """The shipped model, and 32x32 pictures."""
    export(Weights.load(), folder)
    return Task.of("cifar", folder, small_pictures())


def resnet(folder: Path) -> Task:
    """ResNet-18 at 224 with random weights, and 500x375 photographs.

    Random weights would find the same class in all pictures; a bias is set so that they do not.
    """
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18(num_classes=1000).eval()
    folder.mkdir(parents=True, exist_ok=True)
    spec = Spec((224, 224), tuple(f"class {i}" for i in range(1000)), resize=256)
    spec.save(folder)
    pixels = photographs(PHOTOGRAPHS, 500, 375)
    with torch.inference_mode():
        logits = network(torch.from_numpy(spec.preprocessor()(pixels)))
        network.fc.bias -= logits.mean(0)
        network.fc.weight *= 10 / (logits - logits.mean(0)).abs().max()
    torch.jit.trace(network, torch.zeros(1, 3, 224, 224)).save(str(folder / MODEL))
    return Task.of("resnet", folder, large_pictures())


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _labels(folder: Path, pictures: Sequence[bytes], precision: Precision) -> list[str]:
    classifier = Classifier(folder, precision=precision)
    found = []
    for start in range(0, len(pictures), 16):
        pixels = [decode(data, 10**7) for data in pictures[start : start + 16]]
        found += [best[0].label for best in classifier.classify(pixels)]
    return found
