"""The images of a run at the network's size, on the device that trains."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from falconet.model.spec import Spec
from falconet.native.data import Pixels

from . import data
from .allocator import keep_freed_memory
from .prepared import Prepared, prepare, uncropped
from .recipe import Recipe
from .selection import Selection

SAMPLES = 64  # images kept with the weights, to check exports with


@dataclass(frozen=True)
class Images:
    """Images to train on, and images held out. Those that are on disk stay on the CPU.

    Attributes:
        spec: of the network, with its normalization.
        train_x: uint8 ``(N, 3, height, width)``; whole images if the recipe has random crops.
        train_y: their labels, int64 ``(N,)``.
        ratios: width / height of the decoded images, float32 ``(N,)``.
        held_x: uint8 ``(M, 3, height, width)``, at the network's size.
        held_y: their labels, int64 ``(M,)``.
        on_disk: whether ``train_x`` is mapped from a file, and read batch by batch.
        samples: some images at the network's size, never of the test set.
    """

    spec: Spec
    train_x: Tensor
    train_y: Tensor
    ratios: Tensor
    held_x: Tensor
    held_y: Tensor
    on_disk: bool
    samples: list[Pixels]

    @classmethod
    def of(
        cls, recipe: Recipe, chosen: Selection, device: torch.device, cache: int, folder: Path
    ) -> "Images":
        """Decode and resize the chosen images; ``cache`` and ``folder`` as in :func:`prepare`."""
        spec = recipe.spec(chosen.dataset.classes)
        train_spec = uncropped(spec) if recipe.augmentation.random_crop else spec
        train_set = prepare(chosen.dataset, chosen.training, train_spec, cache, folder)
        held_set = prepare(chosen.held, chosen.validation, spec, cache, folder)
        if recipe.normalization != "own":
            mean, std = data.statistics(train_set.images, recipe.normalization)
            spec = replace(spec, mean=mean, std=std)
        # weights.pt includes the samples, and people look at them: none are of the test set.
        validates = chosen.held is chosen.dataset and len(chosen.validation)
        shown = chosen.validation if validates else chosen.training
        shown = shown[:: max(1, len(shown) // SAMPLES)][:SAMPLES]
        samples = [pixels.copy() for pixels in prepare(chosen.dataset, shown, spec).images]
        keep_freed_memory()
        return cls(
            spec,
            _placed(train_set, device),
            torch.from_numpy(chosen.labels).to(device),
            train_set.ratios.to(device),
            _placed(held_set, device),
            torch.from_numpy(chosen.held_labels).to(device),
            train_set.on_disk,
            samples,
        )


def _placed(found: Prepared, device: torch.device) -> Tensor:
    return found.pixels if found.on_disk else found.pixels.to(device)
