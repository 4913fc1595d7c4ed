"""The images of the page."""

from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from ..plots import CEILING, OURS, PEER, TEXT, bars, beside, figure, save
from ..rounds import highest
from .figures import Result, systems_of

OTHERS = (PEER, "#5c7080", "#b0a080", "#7c9885", "#9a86a4", "#a8806f", "#6f93a8", "#b58db6")
QUANTILES = ("p50", "p90", "p99", "p99.9")


def draw(result: Result, folder: Path) -> None:
    """``throughput-TASK.svg`` for each task that other servers were given."""
    for task in result["tasks"]:
        if not task["peers"]:
            continue
        drawn = figure(8, 5.2)
        axes = drawn.subplot_mosaic([["closed", "open"], ["peers", "peers"]])
        _closed(axes["closed"], task)
        _open(axes["open"], task)
        _peers(axes["peers"], task)
        save(drawn, folder / f"throughput-{task['name']}.svg")


def _colors(names: list[str]) -> dict[str, str]:
    """The first is ours, the second the ceiling."""
    return dict(zip(names, (OURS, CEILING, *OTHERS), strict=False))


def _closed(axes: Axes, task: Result) -> None:
    names = systems_of(task)
    for name, color in _colors(names).items():
        points = sorted(
            (each["connections"], median(one["throughput"] for one in each["rounds"]))
            for each in task["closed"]
            if each["system"] == name
        )
        axes.plot(*zip(*points, strict=True), "o-", ms=3, color=color, label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(top=12 * axes.get_ylim()[1])  # room for the names
    axes.set_title("requests/s, by connections", color=TEXT)
    axes.legend(labelcolor=TEXT, frameon=False, fontsize=7)


def _open(axes: Axes, task: Result) -> None:
    """At 70 % of our highest: the ceiling at that rate, the rest at 70 % of their own."""
    names = systems_of(task)
    chosen = {each["system"]: each for each in task["open"] if each["share"] == 0.7}
    same_rate = [each for each in task["open"] if each["share"] == 0]
    chosen |= {each["system"]: each for each in same_rate}
    for name, color in _colors(names).items():
        if name in chosen:
            rounds = chosen[name]["rounds"]
            times = [1e3 * median(one[q] for one in rounds) for q in QUANTILES]
            label = f"{chosen[name]['rate']:.0f} requests/s"
            axes.plot(range(len(QUANTILES)), times, "o-", ms=3, color=color, label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(range(len(QUANTILES)), QUANTILES)
    axes.set_title("ms until answered, open loop", color=TEXT)
    axes.legend(labelcolor=TEXT, frameon=False, fontsize=7)


def _peers(axes: Axes, task: Result) -> None:
    """How many times as many requests we answer, in the same rounds."""
    ratios: dict[str, float] = {}
    for found in [task["closed"], *task["peers"]]:
        best = highest(found)
        ours, *others = systems_of({"closed": found})
        ratios |= {name: best[ours][1] / best[name][1] for name in others if name in best}
    rows = sorted(ratios.items(), key=lambda row: row[1])
    for place, (name, ratio) in enumerate(rows):
        color = CEILING if "no-op" in name else OTHERS[0]
        axes.barh(place, ratio, 0.7, color=color)
        beside(axes, (ratio, place), f"{ratio:.2f}x")
    axes.axvline(1, color=OURS, lw=1)
    bars(axes, [name for name, _ in rows])
    axes.set_title("our highest throughput by theirs", color=TEXT)
