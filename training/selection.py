"""The images that a run trains on, and those that it holds out."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import data
from .recipe import Recipe
from .split import Indices, hold_out, subset


class Selection(NamedTuple):
    """Images of two data sets, which are the same one unless the test set is held out.

    Attributes:
        dataset: the training set.
        training: indices of the images in it to train on.
        held: the data set of the images held out, with the same classes.
        validation: indices of these; empty where the recipe holds out none.
    """

    dataset: data.Dataset
    training: Indices
    held: data.Dataset
    validation: Indices

    @property
    def labels(self) -> Indices:
        """Of the images to train on."""
        return self.dataset.labels[self.training]

    @property
    def held_labels(self) -> Indices:
        """Of the images held out."""
        return self.held.labels[self.validation]


def select(recipe: Recipe, source: Path | str) -> Selection:
    """Choose the images for a recipe; the same ones each time.

    Args:
        recipe: how many images are held out, and which ones.
        source: of the images, as in :func:`falconet.training.data.load`.

    Raises:
        FileNotFoundError: as in :func:`falconet.training.data.load`.
        ValueError: a class has fewer than ``per_class`` images, fewer than ``batch_size`` are left
            to train on, or the test set has other classes.
    """
    dataset = data.load(source, "train", recipe.formats)
    training, validation = hold_out(dataset.labels, recipe.validation, recipe.hold_out, recipe.seed)
    if recipe.per_class:
        training = training[subset(dataset.labels[training], recipe.per_class, recipe.seed)]
    if len(training) < recipe.batch_size:
        raise ValueError(
            f"there are {len(dataset.labels)} images; with validation={recipe.validation} of "
            f"them held out, {len(training)} are left to train on, less than a batch_size of "
            f"{recipe.batch_size}: make one or the other smaller"
        )
    held = dataset
    if recipe.hold_out == "test":
        held = data.load_test(source, dataset.classes, recipe.formats)
        validation = np.arange(len(held.labels))
    return Selection(dataset, training, held, validation)
