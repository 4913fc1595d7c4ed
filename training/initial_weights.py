"""The weights that a network starts from, in place of random ones."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from falconet.model.backbone import Backbone, own_preprocessing, published_state
from falconet.model.weights import Weights

from .progress import console
from .recipe import Recipe
from .selection import Selection
from .split import hold_out, subset

HELD_OUT_BY = ("seed", "validation", "hold_out", "per_class")  # fields of a recipe


def load_run(network: nn.Module, path: Path) -> None:
    """Copy the weights of a run; layers of another shape stay random.

    Args:
        network: as the recipe builds it.
        path: the run's ``weights.pt``.

    Raises:
        ValueError: they are of another network.
    """
    for name in load_matching(network, Weights.load(path).network):
        console.print(f"{name}: of another shape in {path}, starts at random")


def load_backbone(network: nn.Module, recipe: Recipe, backbone: str, weights: Path | None) -> None:
    """Copy the weights of the recipe's backbone, all but those of the last layer.

    Args:
        network: as the recipe builds it.
        recipe: of the run.
        backbone: name of the recipe's backbone.
        weights: a file with its weights; ``None`` takes those that are published.

    Raises:
        ValueError: they are of another network.
        ConnectionError: they are not in the library's cache, and cannot be downloaded.
    """
    own = recipe.arguments.get("backbone")
    if not isinstance(network, Backbone) or backbone != own:
        raise ValueError(
            f"expected to begin with {own or 'the weights.pt of a run'}, which {recipe.name} "
            f"trains, got {backbone}"
        )
    try:
        network.take(published_state(backbone, weights))
    except ValueError as error:
        raise ValueError(f"{weights or backbone}: {error}") from error


def check_initial_weights(
    recipe: Recipe, init_from: Path | str | None, weights: Path | None
) -> None:
    """Check, before any work, that a new run is given its initial weights.

    Raises:
        ValueError: the recipe needs weights and got none, or got a file without a backbone.
    """
    if recipe.begins_with and init_from is None:
        raise ValueError(
            f"the recipe {recipe.name} begins with the weights of {recipe.begins_with}: train "
            "that, and name its weights.pt with --init-from"
        )
    if weights is not None and not isinstance(init_from, str):
        raise ValueError(
            f"{weights}: expected the name of its network with --init-from, like "
            "torchvision:resnet18, got none"
        )
    if recipe.transfers and init_from is None:
        backbone = recipe.arguments.get("backbone")
        console.print(
            f"{recipe.name} begins with random weights; --init-from {backbone} begins with "
            "published ones"
        )


def check_unseen(recipe: Recipe, chosen: Selection, path: Path) -> None:
    """Check that other weights were not trained on a run's held-out images.

    Otherwise the validation accuracy would be too high. Weights from another data set pass.

    Args:
        recipe: of the run.
        chosen: its images.
        path: weights that the run begins with, or of its teacher.

    Raises:
        ValueError: some of them are.
    """
    weights = Weights.load(path)
    card, labels = weights.card, chosen.dataset.labels
    if "data" in card:
        same = card["data"] == chosen.dataset.fingerprint
    else:  # version 1.0 stored only the number of images
        counts = card.get("images", 0), card.get("images", 0) + card.get("validation_images", 0)
        same = weights.spec.classes == chosen.dataset.classes and len(labels) in counts
    if not same or chosen.held is not chosen.dataset:
        return
    theirs = json.loads(card["recipe"])
    trained, _ = hold_out(labels, theirs["validation"], theirs["hold_out"], theirs["seed"])
    if theirs["per_class"]:
        trained = trained[subset(labels[trained], theirs["per_class"], theirs["seed"])]
    seen = np.intersect1d(trained, chosen.validation)
    if len(seen):
        here = {name: getattr(recipe, name) for name in HELD_OUT_BY}
        differing = [name for name in HELD_OUT_BY if theirs[name] != here[name]]
        raise ValueError(
            f"{path}: expected weights that were not trained on the images held out here, got "
            f"{len(seen):,} of {len(chosen.validation):,} that they were; they were trained with "
            f"{_assigned(theirs, differing)}, this recipe has {_assigned(here, differing)}: train "
            "both with the same"
        )


def _assigned(values: Mapping[str, Any], names: Sequence[str]) -> str:
    return " ".join(f"{name}={values[name]}" for name in names)


def backbone_fields(recipe: Recipe, backbone: str) -> list[str]:
    """Recipe fields that select a backbone and its own image size.

    Raises:
        ValueError: the recipe trains another network, or there is no such backbone.
    """
    if not recipe.transfers:
        raise ValueError(
            f"the recipe {recipe.name} trains {recipe.network.__name__}, which cannot begin with "
            f"{backbone}: use the recipe transfer"
        )
    height, width = own_preprocessing(backbone)["size"]
    return [f"backbone={backbone}", f"size={height},{width}"]


def load_matching(network: nn.Module, other: nn.Module) -> list[str]:
    """Copy the weights that have the same name and shape, and return the names of the others.

    Raises:
        ValueError: there are none.
    """
    own, theirs = network.state_dict(), other.state_dict()
    fitting = {n for n in own if n in theirs and own[n].shape == theirs[n].shape}
    if not fitting:
        raise ValueError("expected weights of the same network, got those of another")
    network.load_state_dict({name: theirs[name] for name in fitting}, strict=False)
    return sorted(own.keys() - fitting)
