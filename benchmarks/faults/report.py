"""The table of promises, and the plot."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..document import measured
from ..plots import CEILING, OURS, PEER, TEXT, figure, save
from ..table import table
from .death import BATCH

Result = dict[str, Any]


class Promise(NamedTuple):
    """What was to be, what was found, and whether that is good enough."""

    what: str
    aim: str
    found: str
    kept: bool

    def row(self) -> list[str]:
        return [self.what, self.aim, f"{self.found}{'' if self.kept else ', **missed**'}"]


def page(result: Result) -> str:
    rows = table(["promise", "target", "measured"], (each.row() for each in promises(result)))
    overload, hostile = result["overload"], result["neighbours"]
    before, after = hostile["memory"]
    beside = float(np.median([each["capacity"] for each in overload["rounds"]]))
    refusal = float(np.median([each["refusal_cpu_seconds"] for each in overload["rounds"]]))
    bare = overload["bare_refusal_cpu_seconds"]
    return (
        f"{rows}\n\nRequests go through the gateway with its default limits; the label of every "
        f"response is checked. The capacity is {overload['capacity']['throughput']:.0f} correct "
        "responses/s. The load generator runs on the same cores, and takes "
        f"{overload['generator_cores']:.2f} of a core to send {overload['sent']:.0f} requests/s. "
        "While another process uses the CPU time that the generator needs in addition, the "
        f"capacity is {beside:.0f}. Goodput is divided by this capacity; both are measured in turn "
        f"(median and range of {len(overload['rounds'])} rounds). To reject a request, nginx takes "
        f"{refusal * 1e6:.0f} µs of CPU time (median); an nginx that only rejects requests takes "
        f"{bare * 1e6:.0f} µs, without keys, models, limits and a log. Hostile requests: "
        f"{hostile['hostile']:,}, of {len(hostile['statuses'])} kinds; the memory of the workers "
        f"was {before['workers'] / 1e6:.0f} MB before and {after['workers'] / 1e6:.0f} MB after "
        f"them. {measured('faults', result['machine'])}\n"
    )


def promises(result: Result) -> Iterator[Promise]:
    worker = result["worker"]
    kills = worker["kills"]
    most = max(each["lost"] for each in kills)
    lost = f"at most {most}, in total {_kinds(worker['lost'])}; n={len(kills)}"
    yield Promise(
        f"a worker is killed under {worker['rate']:.0f} requests/s: lost requests",
        f"<= {BATCH}, one batch",
        lost,
        most <= BATCH and not worker["lost_before"],
    )
    java, unclear = result["java"], worker["unclear"]
    yield Promise("lost requests without a clear status 5xx", "0", str(unclear), unclear == 0)
    back = max(each["back"] for each in kills)
    yield Promise("seconds until all workers are back", "<= 10", f"{back:.1f}", back <= 10)
    yield Promise(
        "Java is killed: failed requests without a clear status 5xx or 429",
        "0",
        f"{java['unclear']}; {_kinds(java['lost'])}",
        java["unclear"] == 0 and java["lost_before"] == 0,
    )
    yield Promise(
        "after a restart, it serves the deployed version",
        java["served"][0],
        f"{java['served'][1]}, after {java['first']:.1f} s; all workers after {java['back']:.1f} s",
        java["served"][0] == java["served"][1] and not java["orphans"],
    )
    overload = result["overload"]
    ratios = [each["goodput"] / each["capacity"] for each in overload["rounds"]]
    ratio = float(np.median(ratios))
    times = overload["sent"] / overload["capacity"]["throughput"]
    yield Promise(
        f"{times:.1f} times the capacity: goodput divided by capacity",
        ">= 0.9",
        f"{ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
        ratio >= 0.9,
    )
    otherwise = overload["refused_otherwise"]
    yield Promise(
        "requests rejected without status 429 and Retry-After",
        "0",
        f"{otherwise}; {_kinds(overload['refused'])}",
        otherwise == 0,
    )
    recovery = overload["recovery"]
    yield Promise("seconds until latency is as before", "<= 2", f"{recovery:.1f}", recovery <= 2)
    hostile = result["neighbours"]
    failed = sum(hostile["failed"].values())
    yield Promise(
        f"{hostile['hostile']:,} hostile requests: valid requests that failed",
        "0",
        f"{failed} of {hostile['good']:,}",
        failed == 0,
    )
    yield Promise(
        "workers that died; hostile requests without a message about their error",
        "0; 0",
        f"{hostile['died']}; {hostile['unfair']}",
        not hostile["died"] and not hostile["unfair"] and hostile["ready"],
    )
    slow = result["slow"]
    failed = sum(slow["during"]["failed"].values())
    before, during = (1e3 * slow[when]["p99"] for when in ("before", "during"))
    yield Promise(
        f"{slow['clients']} slow clients and {slow['never_reading']} that never read: valid "
        "requests that failed",
        "0",
        f"{failed} of {slow['during']['requests']:,}; p99 {before:.0f} ms before, {during:.0f} ms "
        "with them",
        failed == 0,
    )


def _kinds(found: dict[str, int]) -> str:
    return ", ".join(f"{count:,} x {kind}" for kind, count in found.items()) or "nothing"


def plot(result: Result, path: Path) -> None:
    """Right answers and others, second by second, through each trouble."""
    shown = (
        ("overload", f"{result['overload']['seconds']:.0f} s of overload"),
        ("worker", "a worker is killed"),
        ("java", "Java is killed, and started again"),
    )
    drawn = figure(8, 2.6)
    for axes, (name, title) in zip(drawn.subplots(1, len(shown)), shown, strict=True):
        seen = result[name]["seen"]
        axes.step(seen["at"], seen["other"], color=PEER, lw=1, where="mid", label="refused or lost")
        axes.step(seen["at"], seen["good"], color=OURS, lw=1, where="mid", label="right")
        axes.axvline(0, color=CEILING, lw=0.5)
        axes.set_ylim(0)
        axes.set_title(title, color=TEXT)
        axes.set_xlabel("seconds", color=TEXT)
    first = drawn.axes[0]
    first.set_ylabel("answers/s", color=TEXT)
    first.legend(labelcolor=TEXT, frameon=False, fontsize=7)
    save(drawn, path)
