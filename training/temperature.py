"""The temperature that calibrates the probabilities of a network: its logits are divided by it."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from falconet.model.weights import Weights
from falconet.native.output import LEAST_TEMPERATURE, MOST_TEMPERATURE, probabilities

from . import data
from .evaluate import answers, score_of
from .recipe import Recipe
from .reliability import Reliability
from .run import Run
from .selection import select

HALVINGS = 60  # of the interval, from 100 times to below float64's rounding


class TemperatureError(ValueError):
    """There are no images that a temperature can be fitted on."""


@dataclass(frozen=True)
class Fitted:
    """A temperature, and its effect on the probabilities of the images that it was fitted on.

    Attributes:
        temperature: see :func:`fit`.
        images: how many were held out.
        loss: their mean cross-entropy with the temperature 1, and with this one.
        calibration_error: the expected calibration error, likewise.
    """

    temperature: float
    images: int
    loss: tuple[float, float]
    calibration_error: tuple[float, float]

    @classmethod
    def on(cls, logits: Tensor, labels: Tensor) -> "Fitted":
        """Arguments and errors as in :func:`fit`."""
        temperature = fit(logits, labels)
        scaled = logits / temperature
        before, after = (Reliability.of(each.softmax(1), labels) for each in (logits, scaled))
        return cls(
            temperature,
            len(labels),
            (score_of(logits, labels).loss, score_of(scaled, labels).loss),
            (before.error, after.error),
        )

    def __str__(self) -> str:
        loss, error = self.loss, self.calibration_error
        return (
            f"temperature {self.temperature:g}, fitted on {self.images:,} images held out: "
            f"cross-entropy {loss[0]:.4f} to {loss[1]:.4f}, "
            f"expected calibration error {error[0]:.2%} to {error[1]:.2%}"
        )


def fit(logits: Tensor, labels: Tensor) -> float:
    """The temperature T with the least cross-entropy of softmax(logits / T), to four decimals.

    Temperature scaling (Guo, Pleiss, Sun, Weinberger 2017, https://arxiv.org/abs/1706.04599). The
    cross-entropy is convex in 1 / T, so its slope has one zero, which bisection finds.

    Args:
        logits: ``(N, classes)``, of images that were not trained on.
        labels: ``(N,)`` int64.

    Raises:
        TemperatureError: no temperature from 0.01 to 100 has the least: the network is right on
            every image, or no better than chance.
    """
    logits = logits.double()
    right = logits.gather(1, labels[:, None]).mean()

    def slope(temperature: float) -> float:
        """Derivative of the cross-entropy by 1 / T."""
        likely = probabilities("logits", logits, temperature)
        return float((likely * logits).sum(1).mean() - right)

    least, most = LEAST_TEMPERATURE, MOST_TEMPERATURE
    if not slope(least) > 0:
        raise TemperatureError(
            f"all {len(logits)} images held out are classified right, from which every "
            "probability would become 1: hold more images out"
        )
    if not slope(most) < 0:
        raise TemperatureError(
            f"on the {len(logits)} images held out the network is no better than chance: train it "
            "for longer"
        )
    for _ in range(HALVINGS):
        middle = math.sqrt(least * most)
        least, most = (middle, most) if slope(middle) > 0 else (least, middle)
    return round(least, 4)


def held_out(run: Run, recipe: Recipe, source: Path | str) -> data.Dataset:
    """The images of the training set that a run held out; never those of the test set.

    Raises:
        TemperatureError: the run held out none, or was trained on another training set.
        FileNotFoundError: there is no training set, or the run has no checkpoint.
    """
    if recipe.hold_out != "test":
        try:
            chosen = select(recipe, source)
            run.load_checkpoint(chosen.dataset.fingerprint)
        except ValueError as error:
            raise TemperatureError(str(error)) from error
        if len(chosen.validation):
            images = [chosen.dataset.images[i] for i in chosen.validation]
            return data.Dataset(images, chosen.held_labels, chosen.dataset.classes)
    raise TemperatureError(
        f"{run.folder}: no training images were held out; train with hold_out=stratified and "
        "validation=N, such as a tenth of the images"
    )


def store(run: Run, recipe: Recipe, source: Path | str) -> Fitted:
    """Fit a temperature on the images that a finished run held out, and store it in its weights.

    Raises:
        TemperatureError, FileNotFoundError: as in :func:`fit` and :func:`held_out`, or the run is
            not over. The weights are as they were.
    """
    weights = Weights.load(run.finished_weights())
    dataset = held_out(run, recipe, source)
    _, logits = answers(weights, dataset)
    fitted = Fitted.on(logits, torch.from_numpy(dataset.labels))
    weights.network.cpu()
    spec = replace(weights.spec, temperature=fitted.temperature)
    replace(weights, spec=spec).save(run.weights)
    return fitted
