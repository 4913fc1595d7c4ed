"""How plots look."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Legible on white and on black.
TEXT = "#808080"
OURS = "#e8590c"
PEER = "#8c959f"
CEILING = "#1c7ed6"
ERROR = "#e03131"


def figure(width: float, height: float) -> Figure:
    """One whose text stays text, and whose file is the same each time it is drawn the same."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "falconet", "font.size": 8})
    return Figure(figsize=(width, height), layout="constrained")


def bars(axes: Axes, names: list[str]) -> None:
    """Names of horizontal bars, the first of them on top."""
    axes.set_yticks(range(len(names)), names, color=TEXT)
    axes.invert_yaxis()


def beside(axes: Axes, point: tuple[float, float], text: str, color: str = TEXT) -> None:
    """Text to the right of a point."""
    axes.annotate(text, point, (3, 0), textcoords="offset points", va="center", color=color)


def save(drawn: Figure, path: Path) -> None:
    """With ticks in gray, and no frames."""
    for axes in drawn.axes:
        axes.tick_params(colors=TEXT, which="both")
        axes.spines[:].set_visible(False)
    drawn.savefig(path, transparent=True, metadata={"Date": None})
