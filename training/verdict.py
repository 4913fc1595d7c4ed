"""Whether runs reproduce a published accuracy, by the spread of their last epochs."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Literal, NamedTuple

Verdict = Literal["reproduced", "higher", "lower", "lower, as in Keras", "higher, as in Keras"]

# The end of a shorter run has too few epochs to estimate a deviation, so more seeds are needed.
SHORT_EPOCHS = 50
SHORT_RUNS = 3


class Late(NamedTuple):
    """Accuracy over the last tenth of a run's epochs, of three at least.

    Attributes:
        mean: from 0 to 1.
        deviation: the sample standard deviation.
        epochs: how many these are.
    """

    mean: float
    deviation: float
    epochs: int


class Spread(NamedTuple):
    """Two standard deviations around the mean accuracy of a run's last epochs.

    Attributes:
        low: from 0 to 1.
        high: from 0 to 1.
        runs: how many it was computed from.
    """

    low: float
    high: float
    runs: int

    def __str__(self) -> str:
        ends = f"{100 * self.low:.2f} to {100 * self.high:.2f} %"
        return f"{ends} (n = {self.runs})" if self.runs > 1 else ends


def late_epochs(epochs: int) -> int:
    """How many epochs are the last tenth of a run."""
    return max(3, epochs // 10)


def late(accuracies: Sequence[float]) -> Late | None:
    """The end of a run, given its epochs in order; ``None`` if there are fewer than three."""
    last = accuracies[-late_epochs(len(accuracies)) :]
    return Late(mean(last), stdev(last), len(last)) if len(last) >= 3 else None


def spread(runs: Iterable[Late]) -> Spread | None:
    """Spread of the last epochs of all runs together; ``None`` without runs."""
    runs = list(runs)
    if not runs:
        return None
    count = sum(run.epochs for run in runs)
    center = sum(run.epochs * run.mean for run in runs) / count
    squares = sum(
        (run.epochs - 1) * run.deviation**2 + run.epochs * (run.mean - center) ** 2 for run in runs
    )
    deviation = math.sqrt(squares / (count - 1))
    return Spread(center - 2 * deviation, center + 2 * deviation, len(runs))


def verdict(published: float, ours: Spread, keras: Spread | None = None) -> Verdict:
    """The verdict on a published accuracy.

    It is reproduced if it lies within our spread. If Keras' spread overlaps with ours, both count
    as one range, because both are of the same training. Keras does not reach a figure outside of
    this range either.
    """
    low, high = ours.low, ours.high
    alike = keras is not None and keras.low <= high and low <= keras.high
    if keras is not None and alike:
        low, high = min(low, keras.low), max(high, keras.high)
    if low <= published <= high:
        return "reproduced"
    if published > high:
        return "lower, as in Keras" if alike else "lower"
    return "higher, as in Keras" if alike else "higher"


def keras_spreads(file: Path) -> dict[str, Spread]:
    """What ``python -m benchmarks.keras`` measured in full, by recipe; empty without the file."""
    if not file.exists():
        return {}
    content = json.loads(file.read_text())["recipes"]
    return {
        name: found
        for name, runs in content.items()
        if (found := spread(Late(*run) for run in runs["keras"]))
    }
