"""The sections of a report about probabilities: calibration, and thresholds by class."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from falconet.model.spec import Spec
from falconet.model.weights import Weights

from . import page, plots
from .evaluate import answers, score_of
from .recipe import Recipe
from .reliability import Reliability
from .run import Run
from .temperature import TemperatureError, fit, held_out
from .thresholds import Reached, threshold

DIGITS = 6  # of a probability in a response


class Predictions(NamedTuple):
    """Logits, ``(N, classes)``, and the true classes, ``(N,)`` int64."""

    logits: Tensor
    labels: Tensor


def probability_sections(
    run: Run,
    recipe: Recipe,
    weights: Weights,
    source: Path | str,
    test: Predictions,
    least_precision: float,
) -> list[page.Section]:
    """Calibration and thresholds. Without images held out, the sections say why they are missing.

    Args:
        run: a finished one.
        recipe: of the run.
        weights: of the run.
        source: of the images held out, as in :func:`falconet.training.data.load`.
        test: of the test set.
        least_precision: that each class's threshold has to reach on the held-out images.
    """
    held, fitted, missing = None, None, ""
    try:
        dataset = held_out(run, recipe, source)
        held = Predictions(answers(weights, dataset)[1], torch.from_numpy(dataset.labels))
        fitted = fit(*held)
    except (TemperatureError, FileNotFoundError) as error:
        missing = f"No temperature can be fitted: {error}."
    sections = [calibration(weights.spec, test, fitted, missing)]
    if held is None:
        return [*sections, page.Section("Thresholds by class", missing)]
    return [*sections, thresholds(weights.spec, test, held, least_precision)]


def calibration(spec: Spec, test: Predictions, fitted: float | None, missing: str) -> page.Section:
    """Reliability diagrams of the test set, before and after temperature scaling.

    Args:
        spec: with the temperature that is served.
        test: of the test set.
        fitted: the temperature that fits the images held out; ``None`` if none could be fitted.
        missing: the reason for ``None``, as a sentence; else empty.
    """
    temperatures = {"without scaling": 1.0}
    if fitted is not None:
        temperatures["with the temperature fitted on images held out"] = fitted
    if spec.temperature not in temperatures.values():
        temperatures["with the temperature in the weights"] = spec.temperature
    rows = [
        [
            "probabilities",
            "temperature",
            "expected calibration error",
            "cross-entropy",
            "mean probability",
        ]
    ]
    diagrams = {}
    for name, temperature in temperatures.items():
        logits = test.logits / temperature
        diagram = Reliability.of(logits.softmax(1), test.labels)
        served = ", as served" if temperature == spec.temperature else ""
        rows.append(
            [
                name + served,
                f"{temperature:g}",
                f"{diagram.error:.2%}",
                f"{score_of(logits, test.labels).loss:.4f}",
                f"{diagram.confidence:.2%}",
            ]
        )
        diagrams[f"temperature {temperature:g}"] = diagram
    text = (
        "On the test set. Bars show the share of images whose best class is right. Dots are at the "
        "mean probability of that class. Calibrated probabilities lie on the line. The "
        "expected calibration error (15 bins of equal width) is the mean distance from the line. "
        f"falconet temperature stores the fitted temperature in the weights. {missing}"
    )
    return page.Section(
        "Calibration", text.strip(), rows, plots.reliability(diagrams), "reliability"
    )


def thresholds(
    spec: Spec, test: Predictions, held: Predictions, least_precision: float
) -> page.Section:
    """The threshold of each class, with precision and recall on the images held out and on the test
    set. Probabilities are rounded as in a response.
    """
    rows = [
        [
            "class",
            "threshold",
            "precision, held out",
            "recall, held out",
            "images, held out",
            "precision, test set",
            "recall, test set",
        ]
    ]
    shares = [
        spec.probabilities(each.logits).double().numpy().round(DIGITS) for each in (held, test)
    ]
    for number, name in enumerate(spec.classes):
        known, new = ((each.labels == number).numpy() for each in (held, test))
        likely, new_likely = (each[:, number] for each in shares)
        found = threshold(likely, known, least_precision)
        if found is None:
            rows.append([name, "none", *[""] * 5])
            continue
        reached = Reached.by(found, likely, known)
        on_test = Reached.by(found, new_likely, new)
        rows.append(
            [
                name,
                f"{found:.{DIGITS}f}",
                f"{reached.precision:.1%}",
                f"{reached.recall:.1%}",
                f"{reached.images:,} of {len(likely):,}",
                f"{on_test.precision:.1%}",
                f"{on_test.recall:.1%}",
            ]
        )
    text = (
        "A threshold is the lowest probability of a class that reaches a precision of "
        f"{100 * least_precision:g} % on the images held out, as served with the temperature "
        f"{spec.temperature:g}. Accept a class if its probability in the response is at least its "
        "threshold; several classes may reach theirs. Another temperature has other thresholds. A "
        "threshold from few images is uncertain."
    )
    return page.Section("Thresholds by class", text, rows)
