"""Measures what each setting of the server is good for: changed alone, beside what we ship.

    .venv/bin/python -m benchmarks.settings [--only NAME]

Two servers run, the shipped one and one with a single change; load alternates between them. Writes
benchmarks/results/settings.json and the table in docs/settings.md. Takes half an hour; with --only
it prints that row.
"""

from typing import Any

from rich.progress import Progress

from .. import document, rounds, system, task
from ..progress import progress
from ..table import spread, table
from .variation import VARIATIONS, Variation

ONE, MANY = 1, 32  # connections
ROUNDS, SECONDS = 5, 1.5
COLUMNS = {
    "throughput": f"throughput, {MANY} connections",
    "p99": f"p99 latency, {MANY} connections",
    "alone": "p50 latency, one connection",
    "memory": "memory",
}


def measure(
    shipped: system.System, cifar: task.Task, this: Variation, bars: Progress
) -> dict[str, Any]:
    """Ratios of a change to what is shipped, formed within each round."""
    configuration = this.apply(system.shipped())
    with system.falconet(cifar, this.name, this.served(), configuration) as changed:
        pair = [shipped, changed]
        found = rounds.closed(pair, (ONE, MANY), ROUNDS, SECONDS, bars)
    by_place = {(each["system"], each["connections"]): each["rounds"] for each in found}

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
        "errors": sum(sum(one["errors"].values()) for each in found for one in each["rounds"]),
    }


def page(result: dict[str, Any]) -> str:
    rows = []
    for row in result["rows"]:
        wrong = f", {row['errors']} errors" if row["errors"] else ""
        cells = [spread(row[key], ".2f") for key in COLUMNS]
        rows.append([f"{row['name']}{wrong}", row["why"], *cells])
    return (
        f"{table(['change', 'possible reason', *COLUMNS.values()], rows)}\n\nRatios to the "
        "default settings; above 1 means more. Medians, with minimum and maximum, of "
        f"{ROUNDS} rounds of {SECONDS:g} s each; every response is checked. Load average before: "
        f"{result['load']:.2f}, {result['date']}. "
        f"{document.measured('settings', result['machine'])}\n"
    )


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--only", choices=[each.name for each in VARIATIONS], action="append")
    only = parser.parse_args().only
    chosen = [each for each in VARIATIONS if not only or each.name in only]
    result = document.conditions()
    with (
        progress() as bars,
        task.cifar() as cifar,
        system.falconet(cifar, "shipped") as shipped,
    ):
        result["rows"] = [measure(shipped, cifar, this, bars) for this in chosen]
    print(page(result))
    if not only:
        document.keep("settings", result)
        document.write(document.DOCS / "settings.md", "settings", page(result))


if __name__ == "__main__":
    main()
