"""Brings about what may go wrong with a server, and measures what becomes of its promises.

    .venv/bin/python benchmarks/robustness.py [--quick]

Needs the extra `benchmarks`, and nginx. The real server with the shipped model, behind the gateway
with its usual limits; every answer's label is compared with the one found offline. Writes
benchmarks/results/robustness.json, docs/robustness.svg and the table in docs/operations.md; with
--quick, which takes some minutes, it prints the table and writes into build/robustness/ instead.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from document import DOCS, RESULTS, ROOT, environment, replace_between
from faults import death, neighbours, overload, report, slow
from faults.stack import Stack
from rich.progress import Progress, TimeElapsedColumn

from falconet.serving.rollout import deploy
from serving import run, task

DRAFT = ROOT / "build" / "robustness"
KILL_RATE = 300.0  # requests a second, if that is no more than the share of the capacity
NEIGHBOUR_RATE = 200.0
SLOW_RATE = 100.0
SHARE = 0.5


def measure(stack: Stack, quick: bool, progress: Progress) -> dict[str, Any]:
    """One promise after the other; the server is killed last."""
    result: dict[str, Any] = {}
    steps = progress.add_task("overload", total=5)
    result["overload"] = overload.measure(stack, 10.0 if quick else 60.0)
    most = SHARE * result["overload"]["capacity"]["throughput"]
    progress.update(steps, advance=1, description="hostile requests")
    count = 1_000 if quick else 10_000
    bar = progress.add_task("of them", total=count)
    result["neighbours"] = neighbours.measure(
        stack, min(NEIGHBOUR_RATE, most), count, count, lambda: progress.advance(bar)
    )
    progress.remove_task(bar)
    progress.update(steps, advance=1, description="slow clients")
    result["slow"] = slow.measure(stack, min(SLOW_RATE, most), 12.0 if quick else 60.0)
    progress.update(steps, advance=1, description="workers killed")
    result["worker"] = death.kill_workers(stack, min(KILL_RATE, most), 2 if quick else 5)
    progress.update(steps, advance=1, description="Java killed")
    deploy([stack.server], stack.release("2.0"))
    result["java"] = death.kill_java(stack, min(KILL_RATE, most))
    progress.update(steps, advance=1, description="all done")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="short forms, into build/")
    quick = parser.parse_args().quick
    columns = (*Progress.get_default_columns()[:-1], TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="falconet-") as temporary,
        Progress(*columns) as progress,
    ):
        folder = Path(temporary)
        with Stack.run(task.cifar(folder / "model"), folder) as stack:
            run.warm_up(stack.served)
            result = {"machine": environment()} | measure(stack, quick, progress)
    page = report.page(result)
    print(page)
    folder = DRAFT if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "robustness.json").write_text(json.dumps(result, indent=1) + "\n")
    report.plot(result, (folder if quick else DOCS) / "robustness.svg")
    if not quick:
        replace_between(DOCS / "operations.md", "robustness", page)


if __name__ == "__main__":
    main()
