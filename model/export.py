"""From a trained network to the TorchScript file that serves it."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .archive import MODEL
from .folding import fold
from .weights import Weights

# Folding reorders float32 sums. Logits are of the order of ten, so this is some hundred times what
# rounding makes of them, and far below what a wrongly folded layer would.
MAX_DIFFERENCE = 1e-3


class ExportError(RuntimeError):
    """The exported file does not compute what the network does."""


@dataclass(frozen=True)
class Parity:
    """How two forms of a network compare.

    Attributes:
        images: how many were compared.
        max_difference: the largest absolute difference of two logits.
        same_top1: on how many images both name the same class.
    """

    images: int
    max_difference: float
    same_top1: int

    @classmethod
    def of(cls, expected: Tensor, got: Tensor) -> "Parity":
        """Of the logits, ``(N, classes)``, that they have for the same images."""
        return cls(
            images=len(expected),
            max_difference=(expected - got).abs().max().item(),
            same_top1=int((expected.argmax(1) == got.argmax(1)).sum()),
        )

    def __str__(self) -> str:
        return (
            f"on {self.images} images the logits differ by at most {self.max_difference:.2g}, "
            f"the top-1 class is the same on {self.same_top1}"
        )


def write_script(network: nn.Module, example: Tensor, path: Path) -> nn.Module:
    """Write a network as frozen TorchScript, and give it as it is read back.

    Args:
        network: in evaluation mode; what it does not do for the example is lost.
        example: ``(2, C, height, width)``.
        path: of the file. Who calls compares what it says with the network, in inference mode.
    """
    with warnings.catch_warnings():
        # Deprecated since torch 2.11, and still the format that TorchServe loads.
        warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        # That comparison is stricter than the tracer's, which imports torch.distributed.
        traced = torch.jit.trace(network, example, check_trace=False)
        torch.jit.freeze(traced).save(str(path))
        script: nn.Module = torch.jit.load(str(path))
    return script


def export(weights: Weights, folder: Path) -> Parity:
    """Write ``model.pt`` (frozen TorchScript) and ``spec.json`` into a folder.

    The file, as read back from the disk, is compared with the network on the weights' own
    images before anything is put in place.

    Raises:
        ExportError: they differ by more than :data:`MAX_DIFFERENCE`, or in a top-1 class.
    """
    images = torch.from_numpy(weights.spec.preprocessor()(weights.samples))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MODEL
    partial = path.with_suffix(".partial")
    with torch.inference_mode():
        script = write_script(fold(weights.network), images[:2], partial)
        parity = Parity.of(weights.network(images), script(images))
    if not parity.max_difference <= MAX_DIFFERENCE or parity.same_top1 != parity.images:
        partial.unlink()
        raise ExportError(
            f"the TorchScript file differs from the network: {parity}; expected at most "
            f"{MAX_DIFFERENCE:g}, and the same class on all. Nothing was written."
        )
    partial.replace(path)
    weights.spec.save(folder)
    return parity
