"""Measures what each setting of the server is good for: changed alone, beside what we ship.

    .venv/bin/python benchmarks/settings.py [--only NAME]

Needs the extra `benchmarks`. Two servers run, the shipped one and one with a single change; load
alternates between them. Writes benchmarks/results/settings.json and the table in docs/settings.md.
Takes half an hour; with --only it prints that row.
"""

import argparse
import json
import os
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from document import DOCS, RESULTS, environment, replace_between
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from serving.variation import VARIATIONS, Variation

from serving import run, system, task

ONE, MANY = 1, 32  # connections
ROUNDS, SECONDS = 5, 1.5


def measure(
    shipped: system.System, cifar: task.Task, folder: Path, this: Variation, progress: Progress
) -> dict[str, Any]:
    """Ratios of a change to what is shipped, formed within each round."""
    with system.falconet(cifar, folder, this.name, this) as changed:
        run.warm_up(changed)
        pair = [shipped, changed]
        found = run.closed(pair, (ONE, MANY), ROUNDS, SECONDS, progress)
    by_place = {(each["system"], each["connections"]): each["rounds"] for each in found}
    errors = sum(sum(one["errors"].values()) for each in found for one in each["rounds"])

    def ratios(connections: int, key: str) -> list[float]:
        ours, theirs = (by_place[each.name, connections] for each in pair)
        return [b[key] / a[key] for a, b in zip(ours, theirs, strict=True)]

    return {
        "name": this.name,
        "why": this.why,
        "throughput": ratios(MANY, "throughput"),
        "p99": ratios(MANY, "p99"),
        "alone": ratios(ONE, "p50"),
        "memory": ratios(MANY, "memory"),
        "errors": errors,
    }


def table(result: dict[str, Any]) -> str:
    lines = [
        f"| changed | why one might | throughput, {MANY} connections | p99 there | "
        "p50 of one connection | memory |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        cells = [_spread(row[key]) for key in ("throughput", "p99", "alone", "memory")]
        wrong = f", {row['errors']} errors" if row["errors"] else ""
        lines.append(f"| {row['name']}{wrong} | {row['why']} | {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            "Ratios to what is shipped: above 1 is more. Medians, with the lowest and highest, of "
            f"{ROUNDS} rounds of {SECONDS:g} s each; every answer checked. Measured by "
            f"`benchmarks/settings.py` on {result['machine']}; load before: "
            f"{result['load']:.2f}; {result['date']}.",
            "",
        ]
    )


def _spread(ratios: list[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=[each.name for each in VARIATIONS], action="append")
    only = parser.parse_args().only
    chosen = [each for each in VARIATIONS if not only or each.name in only]
    load = os.getloadavg()[0]
    columns = Progress.get_default_columns()[:-1]
    with (
        tempfile.TemporaryDirectory(prefix="falconet-") as temporary,
        Progress(*columns, MofNCompleteColumn(), TimeElapsedColumn()) as progress,
    ):
        folder = Path(temporary)
        cifar = task.cifar(folder / "model")
        with system.falconet(cifar, folder / "shipped", "shipped") as shipped:
            run.warm_up(shipped)
            rows = [
                measure(shipped, cifar, folder / str(i), this, progress)
                for i, this in enumerate(chosen)
            ]
    result = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": environment(),
        "load": load,
        "rows": rows,
    }
    if only:
        print(table(result))
    else:
        (RESULTS / "settings.json").write_text(json.dumps(result, indent=1) + "\n")
        replace_between(DOCS / "settings.md", "settings", table(result))


if __name__ == "__main__":
    main()
