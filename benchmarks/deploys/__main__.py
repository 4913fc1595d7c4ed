"""Deploys a model again and again while requests come at a fixed rate, and counts what is lost.

    .venv/bin/python -m benchmarks.deploys [--deploys N] [--runs N] [--rate R]

First the only model of a server; then one of two, each asked at half the rate, to see what requests
of the other one notice. Steady times and deploys take turns.

Needs `sysctl kernel.sched_autogroup_enabled=0` where that is on: nothing but whole sessions has a
priority then, as is not so in containers. Every answer's label is compared with the one found
offline. Writes benchmarks/results/deploys.json, docs/deploys.svg and the table in
docs/operations.md.
"""

import time
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.progress import track

from falconet.cli.archive import make_archive
from falconet.serving.rollout import deploy

from .. import document, plots, system, task
from ..load_generator.generator import Generator
from ..load_generator.load import Answer
from ..rounds import check, quantiles
from ..table import counts, table
from . import beside

PAUSE_SECONDS = 5.0  # between deploys, when all is steady
AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")
QUANTILES = ("p50", "p99", "p99.9")
AIMED_AT = 1.5  # p99 during a deploy by that between them, also of another model
GROUPED = (
    " The kernel's sched_autogroup was on: priorities apply within a session, and the load "
    "generator ran in another session than the starting workers."
)
Spans = list[tuple[float, float]]


def deploy_all(served: system.System, archives: Sequence[Path], count: int) -> Spans:
    """One archive after the other, with pauses; when each deploy began and ended."""
    assert served.server is not None
    spans = []
    for i in track(range(count), "deploys"):
        time.sleep(PAUSE_SECONDS)
        began = time.perf_counter()
        deploy([served.server], archives[i % len(archives)])
        spans.append((began, time.perf_counter()))
    time.sleep(PAUSE_SECONDS)
    return spans


def latencies(answers: Sequence[Answer], spans: Spans) -> dict[str, Any]:
    """Of requests that were due within a deploy, and of the others."""
    found: dict[str, list[Answer]] = {"during": [], "steady": []}
    for answer in answers:
        inside = any(began <= answer.intended <= ended for began, ended in spans)
        found["during" if inside else "steady"].append(answer)
    return {name: {"requests": len(some), **quantiles(some)} for name, some in found.items()}


def by_second(
    served: system.System, answers: Sequence[Answer], start: float
) -> dict[str, list[float]]:
    """Latency of the right answers, and how many others there were."""
    bins: dict[int, list[Answer]] = {}
    for answer in answers:
        bins.setdefault(int(answer.intended - start), []).append(answer)
    found: dict[str, list[float]] = {"at": [], "p50": [], "p99": [], "errors": []}
    for second, some in sorted(bins.items()):
        good, _ = check(served, some)
        times = quantiles(good)
        row = (second + 0.5, times["p50"], times["p99"], len(some) - len(good))
        for values, value in zip(found.values(), row, strict=True):
            values.append(value)
    return found


def measure_alone(cifar: task.Task, archives: Sequence[Path], arguments: Namespace) -> Any:
    """Of the only model of a server."""
    with (
        system.falconet(cifar) as served,
        Generator(served.target, arguments.rate) as generator,
    ):
        spans = deploy_all(served, archives, arguments.deploys)
        answers = generator.stop().answers
    start = min(answer.intended for answer in answers)
    return {
        "requests": len(answers),
        "errors": check(served, answers)[1],
        "latencies": latencies(answers, spans),
        "spans": [(began - start, ended - start) for began, ended in spans],
        "seconds": by_second(served, answers, start),
    }


def measure_beside(cifar: task.Task, archives: Sequence[Path], arguments: Namespace) -> Any:
    """Of a model beside the one that is deployed; errors are those of both."""
    with (
        beside.both(cifar) as (deployed, other),
        Generator(deployed.target, arguments.rate / 2) as on_deployed,
        Generator(other.target, arguments.rate / 2, seed=1) as on_other,
    ):
        spans = deploy_all(deployed, archives, arguments.deploys)
        answers, noticed = on_deployed.stop().answers, on_other.stop().answers
    start = min(answer.intended for answer in noticed)
    return {
        "requests": len(answers) + len(noticed),
        "errors": Counter(check(deployed, answers)[1]) + Counter(check(other, noticed)[1]),
        "latencies": latencies(noticed, spans),
        "spans": [(began - start, ended - start) for began, ended in spans],
    }


def page(result: dict[str, Any]) -> str:
    beside_it, rate = result["beside"], result["rate"]
    rows = [*_rows(result, ""), *_rows(beside_it, ", other model")]
    return (
        f"{table(['', 'requests', *QUANTILES], rows)}\n\n"
        f"A server with one model, under {rate:.0f} requests/s: {_told(result, '')}. This is "
        f"the run with the median ratio of {len(result['ratios'])} runs "
        f"({', '.join(f'{each:.2f}' for each in result['ratios'])}); failed or wrong responses in "
        f"all {result['requests_of_all']:,} requests: {counts(result['errors_of_all']) or 'none'}. "
        f"A server with two models, each under {rate / 2:.0f} requests/s; one is deployed: "
        f"{_told(beside_it, ' latency of the other model')}."
        f"{GROUPED if result['autogroup'] else ''} "
        f"{document.measured('deploys', result['machine'])}\n"
    )


def _rows(found: dict[str, Any], of: str) -> list[list[str]]:
    return [
        [f"{title}{of}", f"{each['requests']:,}", *(f"{1e3 * each[q]:.1f} ms" for q in QUANTILES)]
        for title, each in (
            ("between deploys", found["latencies"]["steady"]),
            ("during deploys", found["latencies"]["during"]),
        )
    ]


def _ratio(found: dict[str, Any]) -> float:
    """p99 during a deploy by that between them."""
    during, steady = (found["latencies"][name]["p99"] for name in ("during", "steady"))
    return float(during / steady)


def _told(found: dict[str, Any], of: str) -> str:
    seconds = [ended - began for began, ended in found["spans"]]
    ratio = _ratio(found)
    missed = "" if ratio <= AIMED_AT else f", **above the target of {AIMED_AT:g}**"
    return (
        f"{len(seconds)} deploys of {median(seconds):.0f} s (median), {found['requests']:,} "
        f"requests; failed or wrong responses: {counts(found['errors']) or 'none'}; the p99{of} "
        f"during a deploy is {ratio:.2f} times that between deploys{missed}"
    )


def plot(result: dict[str, Any], path: Path) -> None:
    """p50 and p99 of each second, with the deploys shaded and errors as crosses."""
    drawn = plots.figure(8, 2.6)
    axes = drawn.add_subplot()
    for began, ended in result["spans"]:
        axes.axvspan(began, ended, color=plots.PEER, alpha=0.25, lw=0)
    seconds = result["seconds"]
    for name, color in (("p50", plots.CEILING), ("p99", plots.OURS)):
        axes.plot(seconds["at"], [1e3 * v for v in seconds[name]], color=color, lw=1, label=name)
    for at, count in zip(seconds["at"], seconds["errors"], strict=True):
        if count:
            axes.plot(at, 1, "x", color=plots.ERROR)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("seconds; shaded: a deploy", color=plots.TEXT)
    axes.set_ylabel("ms until answered", color=plots.TEXT)
    axes.legend(labelcolor=plots.TEXT, frameon=False, ncols=2)
    plots.save(drawn, path)


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--deploys", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second")
    arguments = parser.parse_args()
    result = document.conditions()
    with TemporaryDirectory(prefix="falconet-") as folder, task.cifar() as cifar:
        archives = [Path(folder, version, "cifar.mar") for version in ("2.0", "3.0")]
        for each in archives:
            make_archive(None, each, each.parent.name)
        runs = [measure_alone(cifar, archives, arguments) for _ in range(arguments.runs)]
        beside_it = measure_beside(cifar, archives, arguments)
    runs.sort(key=_ratio)
    result |= {
        "rate": arguments.rate,
        "autogroup": AUTOGROUP.exists() and AUTOGROUP.read_text().strip() == "1",
        **runs[len(runs) // 2],
        "requests_of_all": sum(each["requests"] for each in runs),
        "errors_of_all": sum((Counter(each["errors"]) for each in runs), Counter()),
        "ratios": [_ratio(each) for each in runs],
        "beside": beside_it,
    }
    print(page(result))
    plot(result, document.keep("deploys", result) / "deploys.svg")
    document.write(document.DOCS / "operations.md", "deploys", page(result))


if __name__ == "__main__":
    main()
