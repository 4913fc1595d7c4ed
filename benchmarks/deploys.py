"""Deploys a model again and again while requests come at a fixed rate, and counts what is lost.

    .venv/bin/python benchmarks/deploys.py [--deploys N] [--rate R]

Needs the extra `benchmarks`, and `sysctl kernel.sched_autogroup_enabled=0` where that is on:
nothing but whole sessions has a priority then, as is not so in containers. Every answer's label is
compared with the one found offline. Writes benchmarks/results/deploys.json, docs/deploys.svg and
the table in docs/operations.md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from document import (
    CEILING,
    DOCS,
    OURS,
    PEER,
    RESULTS,
    TEXT,
    environment,
    figure,
    plain,
    replace_between,
    save,
)
from rich.progress import track
from serving.load import Answer, open_loop, poisson
from serving.round import check

from falconet.cli.archive import make_archive
from falconet.handler import ENTRY
from falconet.model.archive import archive
from falconet.serving.server import Server
from serving import run, system, task

PAUSE_SECONDS = 5.0  # between deploys, when all is steady
CONNECTIONS = 256
AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")
QUANTILES = (50, 99, 99.9)
AIMED_AT = 1.5  # p99 during a deploy by that between them


def deploy_all(
    server: Server, archives: Sequence[Path], count: int, spans: list[tuple[float, float]]
) -> None:
    """One archive after the other, with pauses; when each began and ended is added to ``spans``.

    By the command, as an operator would, so that the generator's Python has nothing else to do.
    """
    for i in track(range(count), "deploys"):
        time.sleep(PAUSE_SECONDS)
        began = time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, "-m", "falconet.cli", "deploy"),
                *(str(archives[i % len(archives)]), "--state", str(server.folder)),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        spans.append((began, time.perf_counter()))
    time.sleep(PAUSE_SECONDS)


def load_until(
    served: system.System, rate: float, connections: int, thread: threading.Thread
) -> list[Answer]:
    """Requests at a rate until a thread has ended, in spells of ten seconds."""
    random = np.random.default_rng(0)
    answers: list[Answer] = []
    while thread.is_alive():
        schedule = poisson(rate, 10.0, random)
        answers += open_loop(served.target, schedule, connections, len(answers))
    return answers


def latencies(answers: Sequence[Answer], spans: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Of requests that were due within a deploy, and of the others."""
    during: list[float] = []
    steady: list[float] = []
    for answer in answers:
        inside = any(began <= answer.intended <= ended for began, ended in spans)
        (during if inside else steady).append(answer.latency)
    return {
        name: {"requests": len(times)}
        | {f"p{q}": float(np.percentile(times, q)) for q in QUANTILES}
        for name, times in (("during", during), ("steady", steady))
    }


def table(result: dict[str, Any]) -> str:
    lines = ["| | requests | p50 | p99 | p99.9 |", "| --- | --- | --- | --- | --- |"]
    for name, title in (("steady", "between deploys"), ("during", "during deploys")):
        found = result["latencies"][name]
        cells = [f"{1e3 * found[f'p{q}']:.1f} ms" for q in QUANTILES]
        lines.append(f"| {title} | {found['requests']:,} | {' | '.join(cells)} |")
    during, steady = (result["latencies"][name]["p99"] for name in ("during", "steady"))
    grouped = (
        " The kernel's sched_autogroup was on: priorities hold within a session, and the generator "
        "has another one than the workers that start."
    )
    session = grouped if result["autogroup"] else ""
    missed = "" if during <= AIMED_AT * steady else f", **not the {AIMED_AT:g}** aimed at"
    wrong = ", ".join(f"{kind}: {count}" for kind, count in result["errors"].items())
    seconds = [ended - began for began, ended in result["spans"]]
    return "\n".join(
        [
            *lines,
            "",
            f"{len(seconds)} deploys of {np.median(seconds):.0f} s (median) under "
            f"{result['rate']:.0f} requests/s, {result['requests']:,} in all. Failed or wrong: "
            f"{wrong or 'none'}. p99 during a deploy is {during / steady:.2f} times that between "
            f"them{missed}.{session} Measured by `benchmarks/deploys.py` on {result['machine']}.",
            "",
        ]
    )


def plot(result: dict[str, Any], path: Path) -> None:
    """p50 and p99 of each second, with the deploys shaded and errors as crosses."""
    drawn = figure(8, 2.6)
    axes = drawn.add_subplot()
    for began, ended in result["spans"]:
        axes.axvspan(began, ended, color=PEER, alpha=0.25, lw=0)
    seconds = result["seconds"]
    axes.plot(seconds["at"], [1e3 * v for v in seconds["p50"]], color=CEILING, lw=1, label="p50")
    axes.plot(seconds["at"], [1e3 * v for v in seconds["p99"]], color=OURS, lw=1, label="p99")
    for at, count in zip(seconds["at"], seconds["errors"], strict=True):
        if count:
            axes.plot(at, 1, "x", color="#e03131")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("seconds; shaded: a deploy", color=TEXT)
    axes.set_ylabel("ms until answered", color=TEXT)
    plain(axes)
    axes.legend(labelcolor=TEXT, frameon=False, ncols=2)
    save(drawn, path)


def by_second(
    served: system.System, answers: Sequence[Answer], start: float
) -> dict[str, list[float]]:
    bins: dict[int, list[Answer]] = {}
    for answer in answers:
        bins.setdefault(int(answer.intended - start), []).append(answer)
    found: dict[str, list[float]] = {"at": [], "p50": [], "p99": [], "errors": []}
    for second, some in sorted(bins.items()):
        good, errors = check(served, some)
        times = [answer.latency for answer in good] or [float("nan")]
        found["at"].append(second + 0.5)
        found["p50"].append(float(np.percentile(times, 50)))
        found["p99"].append(float(np.percentile(times, 99)))
        found["errors"].append(sum(errors.values()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--deploys", type=int, default=20)
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="falconet-") as temporary:
        folder = Path(temporary)
        cifar = task.cifar(folder / "model")
        archives = []
        for version in ("2.0", "3.0"):
            archives.append(folder / version / "cifar.mar")
            make_archive(None, archives[-1], version)
        store = folder / "store" / "cifar.mar"
        archive(cifar.folder, store, handler=ENTRY)
        with system.torchserve(store, folder, cifar, system.shipped()) as (server, target):
            served = system.System("Falconet", target, system.predictions_label, cifar.served, list)
            run.warm_up(served)
            spans: list[tuple[float, float]] = []
            thread = threading.Thread(
                target=deploy_all, args=(server, archives, arguments.deploys, spans), daemon=True
            )
            thread.start()
            answers = load_until(served, arguments.rate, CONNECTIONS, thread)
            thread.join()
    if len(spans) < arguments.deploys:
        raise SystemExit(f"expected {arguments.deploys} deploys, {len(spans)} were done")
    start = answers[0].intended
    _, errors = check(served, answers)
    result = {
        "machine": environment(),
        "rate": arguments.rate,
        "autogroup": AUTOGROUP.exists() and AUTOGROUP.read_text().strip() == "1",
        "requests": len(answers),
        "errors": dict(errors),
        "latencies": latencies(answers, spans),
        "spans": [(began - start, ended - start) for began, ended in spans],
        "seconds": by_second(served, answers, start),
    }
    print(table(result))
    (RESULTS / "deploys.json").write_text(json.dumps(result, indent=1) + "\n")
    plot(result, DOCS / "deploys.svg")
    replace_between(DOCS / "operations.md", "deploys", table(result))


if __name__ == "__main__":
    main()
