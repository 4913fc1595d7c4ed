"""A page about a run: its learning curves, accuracy and mistakes."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from falconet.model.weights import Weights
from falconet.native.data import Pixels

from . import data, evaluate, page, plots
from .probability_sections import Predictions, probability_sections
from .recipe import Recipe
from .run import Run, machine

FIRST, WORST, PAIRS = 16, 24, 10  # images, images and pairs that are shown


def report(
    run: Run,
    recipe: Recipe,
    source: Path | str,
    folder: Path | None = None,
    least_precision: float = 0.95,
) -> Path:
    """Write ``index.html`` about a run and its results on the test set, and return its path.

    Args:
        run: a finished one.
        recipe: of the run.
        source: of the images, as in :func:`falconet.training.data.load`. Only the held-out part of
            the training set is read; without it, the page has less on probabilities.
        folder: of the page; ``None`` for ``report`` in the run's folder.
        least_precision: that each class's threshold has to reach, above 0, up to 1.

    Raises:
        FileNotFoundError: the run is not over.
        ValueError: the test set has other classes.
    """
    weights = Weights.load(run.finished_weights())
    dataset = data.load_test(source, weights.spec.classes, weights.spec.formats)
    classes, labels = dataset.classes, dataset.labels
    pixels, logits = evaluate.answers(weights, dataset)
    probabilities = weights.spec.probabilities(logits).numpy()
    predicted = logits.argmax(1).numpy()
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    accuracy = float((predicted == labels).mean())

    def shown(indices: npt.NDArray[np.int64]) -> tuple[list[Pixels], list[str]]:
        titles = []
        for i in indices.tolist():
            right = predicted[i] == labels[i]
            sure = f"{classes[predicted[i]]} {probabilities[i, predicted[i]]:.0%}"
            titles.append(sure if right else f"{sure}\nis: {classes[labels[i]]}")
        return [pixels[i] for i in indices.tolist()], titles

    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:WORST]
    few = min(FIRST, len(labels))
    # A folder per class is sorted by class, so its first images are all of one class.
    ordered = not isinstance(dataset.images[0], Path)
    first = np.arange(few) if ordered else np.linspace(0, len(labels) - 1, few).astype(int)
    found = int((predicted[first] == labels[first]).sum())
    sections = [
        page.Section(
            "Learning curves",
            "The training accuracy is that of augmented images, during the epoch.",
            image=plots.curves(run.rows()),
            file="curves",
        ),
        page.Section("By class", rows=classification(matrix, classes)),
        page.Section(
            "Confusion matrix",
            "Numbers of images; colors are scaled to the mistakes.",
            image=plots.confusion(matrix, classes),
            file="confusion",
        ),
        page.Section("Most confused pairs", rows=confused(matrix, classes)),
        *probability_sections(
            run,
            recipe,
            weights,
            source,
            Predictions(logits, torch.from_numpy(labels)),
            least_precision,
        ),
        page.Section(
            f"{'The first ' if ordered else ''}{few} images of the test set",
            f"{found} of them right.",
            image=plots.grid(*shown(first), columns=8),
            file="first",
        ),
    ]
    if len(worst):
        sections.append(
            page.Section(
                "Worst mistakes",
                "Those the network was most sure of.",
                image=plots.grid(*shown(worst), columns=8),
                file="mistakes",
            )
        )
    sections.append(page.Section("Recipe", recipe.about, folded=recipe.to_json()))
    lead = (
        f"{accuracy:.2%} of {len(labels):,} test images right, one view of each; "
        f"{weights.card['images']:,} trained on in {weights.card['epochs']} epochs, "
        f"{weights.card['seconds'] / 60:.1f} minutes on {machine(weights.card['environment'])}."
    )
    return page.write(folder or run.folder / "report", f"Run {run.folder.name}", lead, sections)


def classification(matrix: npt.NDArray[np.int64], classes: tuple[str, ...]) -> list[list[str]]:
    """Precision, recall and their harmonic mean for each class, and the means of all.

    Args:
        matrix: numbers of images, ``(true class, predicted class)``.
        classes: their names.
    """
    right = matrix.diagonal()
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(right / matrix.sum(0))
        recall = np.nan_to_num(right / matrix.sum(1))
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
    rows = [["class", "precision", "recall", "F1", "images"]]
    for i, name in enumerate(classes):
        values = (precision[i], recall[i], f1[i])
        rows.append([name, *(f"{value:.3f}" for value in values), f"{matrix[i].sum():,}"])
    means = (precision.mean(), recall.mean(), f1.mean())
    return [*rows, ["mean", *(f"{value:.3f}" for value in means), f"{matrix.sum():,}"]]


def confused(matrix: npt.NDArray[np.int64], classes: tuple[str, ...]) -> list[list[str]]:
    """The pairs of classes that are taken for each other most often."""
    both = np.triu(matrix + matrix.T, 1)
    order = np.argsort(-both, axis=None, kind="stable")[:PAIRS]
    rows = [["pair", "mistakes", "first for second", "second for first"]]
    for a, b in zip(*np.unravel_index(order, both.shape), strict=True):
        if both[a, b]:
            pair = f"{classes[a]} and {classes[b]}"
            rows.append([pair, str(both[a, b]), str(matrix[b, a]), str(matrix[a, b])])
    return rows
