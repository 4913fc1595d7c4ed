"""The image of the page."""

from pathlib import Path
from typing import Any

from matplotlib.ticker import NullLocator

from ..plots import OURS, PEER, TEXT, bars, beside, figure, save
from .comparison import number, size


def plot(jobs: list[dict[str, Any]], path: Path) -> None:
    """A panel for each job: times on a log scale, ours first, and then the fastest."""
    drawn = figure(8, 5.6)
    for axes, job in zip(drawn.subplots(2, 2).flat, jobs, strict=True):
        rows = [job["contenders"][0]]
        # torchvision on planar tensors would only repeat what its usual ones say.
        others = [row for row in job["contenders"] if "planar" not in row["name"]]
        peers = [row for row in others if not row["ours"]]
        rows += sorted(peers, key=lambda row: float(row["milliseconds"]["median"]))
        times = [row["milliseconds"]["median"] for row in rows]
        for place, (row, time) in enumerate(zip(rows, times, strict=True)):
            easier = "note" in row
            color = OURS if row["ours"] else PEER
            axes.barh(place, time, 0.7, color="none" if easier else color, edgecolor=color)
            beside(axes, (time, place), f"{number(time)} ms", color if row["ours"] else TEXT)
        bars(axes, [row["name"] for row in rows])
        axes.set_xscale("log")
        axes.set_xlim(min(times) / 2, max(times) * 4)
        axes.set_title(f"{size(job)}, {job['filter'] or 'normalized'}", color=TEXT)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.tick_params(axis="y", length=0)
    drawn.supxlabel(
        "milliseconds, one thread, log scale; hollow: not antialiased, or by a box filter",
        color=TEXT,
        fontsize=8,
    )
    save(drawn, path)
