"""Knowledge distillation from a teacher network (arXiv:1503.02531)."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from falconet.model.folding import fold
from falconet.model.spec import Spec
from falconet.model.weights import Weights

from .augment import Augmentation
from .recipe import Recipe


def load_teacher(recipe: Recipe, weights: Path | None, spec: Spec) -> nn.Module | None:
    """The recipe's teacher, ready for inference; ``None`` if it has none.

    Raises:
        ValueError: it is missing, of another recipe, or knows other classes or images.
    """
    if not recipe.teacher:
        if weights is not None:
            raise ValueError(f"the recipe {recipe.name} has no teacher: give none")
        return None
    if weights is None:
        raise ValueError(
            f"the recipe {recipe.name} learns from a network of the recipe {recipe.teacher}: train "
            f"one with `falconet train {recipe.teacher}`, and name its weights.pt as the teacher"
        )
    teacher = Weights.load(weights)
    name = json.loads(teacher.card["recipe"])["recipe"]
    if name != recipe.teacher:
        raise ValueError(f"{weights}: expected weights of {recipe.teacher}, got those of {name}")
    known = teacher.spec
    if (known.classes, known.size) != (spec.classes, spec.size) or not np.allclose(
        [known.mean, known.std], [spec.mean, spec.std], atol=5e-3
    ):
        raise ValueError(
            f"{weights}: expected a teacher with the same classes, size and normalization, got "
            f"{known}"
        )
    return fold(teacher.network)


@torch.no_grad()
def taught(teacher: nn.Module, images: Tensor, augmentation: Augmentation) -> Tensor:
    """A teacher's logits for a batch, ``(N, classes)``.

    If training mirrors images, they are the mean over each image and its mirror image: an
    ensemble of two without extra training.
    """
    logits: Tensor = teacher(images).float()
    if augmentation.flip == "no":
        return logits
    mirrored: Tensor = teacher(images.flip(3)).float()
    return (logits + mirrored) / 2


def digest(weights: Path) -> str:
    """Hash that tells weights apart."""
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def distillation(logits: Tensor, answers: Tensor, temperature: float) -> Tensor:
    """Distillation loss: KL divergence of a network from its teacher, averaged over the images.

    Both distributions are at that temperature. The factor of its square keeps gradients about
    equally large at any temperature.
    """
    own = F.log_softmax(logits / temperature, 1)
    theirs = F.log_softmax(answers / temperature, 1)
    return F.kl_div(own, theirs, reduction="batchmean", log_target=True) * temperature**2
