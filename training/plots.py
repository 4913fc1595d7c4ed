"""The images of pages about data and runs, as PNG."""

import io
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from falconet.native.data import Pixels

from .reliability import Reliability
from .results import Entry

DPI = 110
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.prop_cycle": cycler(color=["#2563a8", "#d9822b", "#3a8f5c", "#a23b72"]),
}


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def grid(images: Sequence[Pixels], titles: Sequence[str], columns: int, title: str = "") -> bytes:
    """Images in rows, each with a title above it; enlarged without smoothing."""
    rows = -(-len(images) // columns)
    figure = _figure(columns * 1.15, rows * 1.4 + (0.3 if title else 0))
    if title:
        figure.suptitle(title)
    for place, (pixels, text) in enumerate(zip(images, titles, strict=True), 1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(pixels, interpolation="nearest")
        axes.set_title(text, fontsize=7)
        axes.axis("off")
    return _png(figure)


def curves(rows: Sequence[Mapping[str, str]]) -> bytes:
    """Loss and accuracy by epoch, of a run's ``metrics.csv``."""
    with mpl.rc_context(STYLE):
        figure = _figure(9, 3.2)
        for place, name in enumerate(("loss", "accuracy"), 1):
            axes = figure.add_subplot(1, 2, place)
            for key, label in ((name, "training"), (f"validation_{name}", "validation")):
                if any(row[key] for row in rows):
                    _curve(axes, rows, key, label)
            axes.set_xlabel("epoch")
            axes.set_title(name)
            axes.legend(frameon=False)
        return _png(figure)


def compared_curves(runs: Mapping[str, Sequence[Mapping[str, str]]]) -> bytes:
    """Loss and accuracy by epoch of several runs, by their names: training above validation."""
    colors = cycler(color=mpl.color_sequences["tab10"])
    with mpl.rc_context({**STYLE, "axes.prop_cycle": colors}):
        figure = _figure(9, 6)
        for place, name in enumerate(
            ("loss", "accuracy", "validation_loss", "validation_accuracy")
        ):
            axes = figure.add_subplot(2, 2, place + 1)
            for run, rows in runs.items():
                _curve(axes, rows, name, run)
            axes.set_xlabel("epoch")
            axes.set_title(name.replace("_", " ") if place > 1 else f"training {name}")
        axes = figure.axes[0]
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", frameon=False)
        return _png(figure)


def _curve(axes: Any, rows: Sequence[Mapping[str, str]], key: str, label: str) -> None:
    points = [(int(row["epoch"]), float(row[key])) for row in rows if row[key]]
    # Plotting no points also advances the color cycle, so a run has one color in all axes.
    axes.plot(*(zip(*points, strict=True) if points else ([], [])), label=label)


def reliability(diagrams: Mapping[str, Reliability]) -> bytes:
    """Reliability diagrams beside each other, by their titles."""
    with mpl.rc_context(STYLE):
        figure = _figure(4.5 * len(diagrams), 4)
        for place, (title, diagram) in enumerate(diagrams.items(), 1):
            axes = figure.add_subplot(1, len(diagrams), place)
            edges = np.linspace(0, 1, len(diagram.bins) + 1)
            heights = [each.accuracy for each in diagram.bins]
            axes.bar(edges[:-1], heights, np.diff(edges), align="edge", edgecolor="white")
            axes.plot([0, 1], [0, 1], color="#888888", linewidth=1)
            means = [(each.confidence, each.accuracy) for each in diagram.bins if each.images]
            axes.plot(*zip(*means, strict=True), "o", color="C1", clip_on=False)
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
            axes.set_xlabel("probability of the best class")
            axes.set_ylabel("share that is right")
            axes.set_title(f"{title}: {diagram.error:.2%}")
        return _png(figure)


def accuracy_by_cost(entries: Sequence[Entry]) -> bytes:
    """Accuracy of recipes by serving cost, published and measured here, as SVG."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": "falconet", "svg.fonttype": "none"}):
        figure = _figure(9, 5)
        axes = figure.add_subplot()
        published: list[tuple[float, float]] = []
        here: list[tuple[float, float]] = []
        for recipe, cost, result in entries:
            millions, both = cost.multiply_adds / 1e6, []
            if recipe.reference is not None and recipe.reference.accuracy is not None:
                published.append((millions, 100 * recipe.reference.accuracy))
                both.append(published[-1])
            if result is not None:
                here.append((millions, 100 * statistics.mean(result.accuracies)))
                both.append(here[-1])
                shorter = f", {result.epochs} epochs" if "epochs" in result.changed else ""
                axes.annotate(
                    recipe.name + shorter,
                    here[-1],
                    xytext=(5, -2),
                    textcoords="offset points",
                    fontsize=7,
                )
            if len(both) == 2:
                axes.plot(*zip(*both, strict=True), color="#bbbbbb", linewidth=0.8)
        for found, label, color, fill in (
            (published, "published", "C1", "none"),
            (here, "here", "C0", "C0"),
        ):
            if found:
                x, y = zip(*found, strict=True)
                axes.plot(x, y, "o", label=label, color=color, markerfacecolor=fill)
        axes.set_xscale("log")
        axes.set_xlabel("multiply-adds for an image, millions")
        axes.set_ylabel("top-1 accuracy, %")
        axes.legend(frameon=False, loc="lower right")
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()


def bars(names: Sequence[str], values: Sequence[float], title: str) -> bytes:
    """A bar for each name."""
    with mpl.rc_context(STYLE):
        figure = _figure(max(4.0, 0.6 * len(names)), 2.8)
        axes = figure.add_subplot()
        axes.bar(range(len(names)), values)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.grid(visible=False, axis="x")
        axes.set_title(title)
        return _png(figure)


def confusion(matrix: npt.NDArray[np.int64], classes: Sequence[str]) -> bytes:
    """Confusion matrix, colored by the fraction of each true class."""
    n = len(classes)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    figure = _figure(max(5.0, 0.55 * n), max(4.4, 0.5 * n))
    axes = figure.add_subplot()
    # The color scale ends near the largest mistake; correct answers would make mistakes invisible.
    off = shares[~np.eye(n, dtype=bool)]
    axes.imshow(shares, cmap="Blues", vmax=max(0.01, 1.5 * float(off.max(initial=0))))
    axes.set_xticks(range(n), classes, rotation=45, ha="right")
    axes.set_yticks(range(n), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if n <= 20:
        for (i, j), count in np.ndenumerate(matrix):
            if count:
                color = "white" if i == j else "black"
                axes.text(j, i, str(count), ha="center", va="center", color=color, fontsize=7)
    return _png(figure)
