"""Watches a worker's memory while it answers a million requests.

    .venv/bin/python benchmarks/endurance.py [--requests N]

Needs the extra `benchmarks`. One worker, the shipped model, every answer checked. Writes
benchmarks/results/endurance.json, docs/endurance.svg and the lines in docs/serving.md. Takes a
quarter of an hour or more; nothing of it is timed, so that the machine may do other things.
"""

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from document import (
    DOCS,
    OURS,
    PEER,
    RESULTS,
    TEXT,
    beside,
    environment,
    figure,
    plain,
    replace_between,
    save,
)
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from serving.load import closed_loop
from serving.round import measure
from serving.usage import usage
from serving.variation import Variation

from serving import system, task

CONNECTIONS = 32
SECONDS = 5.0
SETTLED = 50_000  # requests


def watch(served: system.System, requests: int) -> dict[str, Any]:
    """Memory after every few seconds of load."""
    java, worker = _java_and_worker(served.processes())
    samples: list[dict[str, float]] = []
    errors: dict[str, int] = {}
    done = 0
    columns = Progress.get_default_columns()[:-1]
    with Progress(*columns, MofNCompleteColumn(), TimeRemainingColumn()) as progress:
        bar = progress.add_task("requests", total=requests)
        while done < requests:
            load = partial(closed_loop, served.target, CONNECTIONS, SECONDS, done)
            found = measure(served, load)
            done += found["requests"]
            for kind, count in found["errors"].items():
                errors[kind] = errors.get(kind, 0) + count
            samples.append(
                {
                    "requests": done,
                    "worker": usage([worker]).memory,
                    "java": usage([java]).memory,
                }
            )
            progress.update(bar, completed=done)
    return {"requests": done, "errors": errors, "samples": samples}


def _java_and_worker(processes: list[psutil.Process]) -> tuple[psutil.Process, psutil.Process]:
    (java,) = (each for each in processes if "java" in each.name())
    (worker,) = java.children()
    return java, worker


def growth(samples: list[dict[str, float]], name: str) -> dict[str, float]:
    """Of a process, from when it should have settled: MB, and MB for 100,000 more requests."""
    settled = [each for each in samples if each["requests"] >= SETTLED]
    requests = np.array([each["requests"] for each in settled])
    memory = np.array([each[name] for each in settled]) / 1e6
    slope, _ = np.polyfit(requests / 1e5, memory, 1)
    return {
        "settled": float(memory[0]),
        "highest": float(memory.max()),
        "last": float(memory[-1]),
        "slope": float(slope),
    }


def lines(result: dict[str, Any]) -> str:
    rows = [
        f"| MB | after {SETTLED:,} requests | highest after that | at the end | per 100,000 more |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in ("worker", "java"):
        found = growth(result["samples"], name)
        cells = [f"{found[key]:.1f}" for key in ("settled", "highest", "last")]
        rows.append(f"| {name} | {' | '.join(cells)} | {found['slope']:+.3f} |")
    wrong = ", ".join(f"{kind}: {count}" for kind, count in result["errors"].items())
    return "\n".join(
        [
            *rows,
            "",
            f"{result['requests']:,} requests on {CONNECTIONS} connections; "
            f"{wrong or 'all answers right'}. Memory that is a process's alone, every "
            f"{SECONDS:.0f} s. Measured by `benchmarks/endurance.py` on {result['machine']}.",
            "",
        ]
    )


def plot(result: dict[str, Any], path: Path) -> None:
    drawn = figure(8, 2.4)
    axes = drawn.add_subplot()
    requests = [each["requests"] for each in result["samples"]]
    for name, color in (("worker", OURS), ("java", PEER)):
        axes.plot(requests, [each[name] / 1e6 for each in result["samples"]], color=color, lw=1)
        beside(axes, (requests[-1], result["samples"][-1][name] / 1e6), name, color)
    axes.set_ylim(0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("requests answered", color=TEXT)
    axes.set_ylabel("MB", color=TEXT)
    plain(axes)
    save(drawn, path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1_000_000)
    requests = parser.parse_args().requests
    if requests < 2 * SETTLED:
        parser.error(f"expected at least {2 * SETTLED} requests, to see whether memory grows")
    with tempfile.TemporaryDirectory(prefix="falconet-") as temporary:
        folder = Path(temporary)
        cifar = task.cifar(folder / "model")
        alone = Variation("one worker", "", serving={"workers": 1})
        with system.falconet(cifar, folder / "served", variation=alone) as served:
            result = {"machine": environment(), **watch(served, requests)}
    print(lines(result))
    (RESULTS / "endurance.json").write_text(json.dumps(result, indent=1) + "\n")
    plot(result, DOCS / "endurance.svg")
    replace_between(DOCS / "serving.md", "endurance", lines(result))


if __name__ == "__main__":
    main()
