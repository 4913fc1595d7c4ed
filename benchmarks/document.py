"""Where the figures go, and what they were measured on."""

import os
import platform
from importlib import metadata
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from falconet.training import results
from falconet.training.run import processor

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
RESULTS = ROOT / "benchmarks" / "results"
# Legible on white and on black.
TEXT = "#808080"
OURS = "#e8590c"
PEER = "#8c959f"
CEILING = "#1c7ed6"


def environment() -> str:
    """The machine and the versions, in a line."""
    packages = ("torch", "numpy", "pillow", "simplejpeg")
    versions = [f"{name} {metadata.version(name)}" for name in packages]
    cores = len(os.sched_getaffinity(0))
    python = f"python {platform.python_version()}"
    used = "1 core" if cores == 1 else f"{cores} cores"
    return f"{processor()}, {used}; {', '.join([python, *versions])}"


def figure(width: float, height: float) -> Figure:
    """One whose text stays text, and whose file is the same each time it is drawn the same."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "falconet", "font.size": 8})
    return Figure(figsize=(width, height), layout="constrained")


def plain(axes: Axes) -> None:
    """Ticks in gray, and no frame."""
    axes.tick_params(colors=TEXT, which="both")
    axes.spines[:].set_visible(False)


def beside(axes: Axes, point: tuple[float, float], text: str, color: str = TEXT) -> None:
    """Text to the right of a point."""
    axes.annotate(text, point, (3, 0), textcoords="offset points", va="center", color=color)


def save(drawn: Figure, path: Path) -> None:
    drawn.savefig(path, transparent=True, metadata={"Date": None})


def replace_between(path: Path, name: str, text: str) -> None:
    """Put text between the markers of that name."""
    results.replace_between(path, name, f"benchmarks/{name}.py", text)
