"""Measures `falconet score` beside the server of the same archive, and beside the usual loop.

    .venv/bin/python -m benchmarks.scoring [--only rate|nodes|memory|kills] [--quick]

All figures are of the command, from its start to its end. Every label is compared with the one
found offline. Writes benchmarks/results/scoring.json and the table in docs/scoring.md. Takes half
an hour; with --quick, which does less of everything, it prints the table alone.
"""

from collections.abc import Callable
from statistics import median
from typing import Any

from rich.progress import Progress

from .. import document
from ..progress import progress
from ..table import spread, table
from . import jobs

QUESTIONS: dict[str, Callable[[bool, Progress], dict[str, Any]]] = {
    "rate": jobs.rate,
    "nodes": jobs.nodes,
    "memory": jobs.memory,
    "kills": jobs.kills,
}


def page(result: dict[str, Any]) -> str:
    """What the docs say of it."""
    rows = []
    if rate := result.get("rate"):
        score, served, loop = (rate[each] for each in ("score", "served", "loop"))
        rows += [
            ("`falconet score`, ResNet-18 at 224, 500x375 JPEGs", _rates(score), ""),
            ("the server of the same archive, 32 connections", _rates(served), ""),
            ("DataLoader, torchvision, float32", _rates(loop), ""),
            ("ratio to the server", *_ratio(score, served, 1.2)),
            ("ratio to the DataLoader loop", *_ratio(score, loop, 3.0)),
        ]
    if nodes := result.get("nodes"):
        rows += [
            ("two Ray nodes with one core each", _rates(nodes["two"]), ""),
            ("one Ray node with two cores", _rates(nodes["one"]), ""),
            ("ratio", *_ratio(nodes["two"], nodes["one"], 0.9)),
            ("without Ray, the same images", _rates(nodes["none"]), ""),
        ]
    if memory := result.get("memory"):
        before, after = memory["second_fifth"], memory["last_fifth"]
        rows.append(
            (
                f"memory over {memory['images']:,} images of 32x32: second fifth, last fifth",
                f"{before / 1e6:.0f} MB, {after / 1e6:.0f} MB ({after / before - 1:+.1%})",
                "at most +5 %",
            )
        )
    if kills := result.get("kills"):
        found = (
            f"{kills['rows']:,} rows for {kills['images']:,} images, {kills['different']} different"
        )
        rows.append((f"a job that is killed {kills['kills']} times", found, "0 different"))
    how = [f"{result['date']}."]
    if rate:
        how.insert(
            0,
            f"Images/s of {rate['images']:,} images ({rate['loop_images']:,} with the DataLoader), "
            f"startup included; medians of {len(score)} rounds, with minimum and maximum; ratios "
            f"within rounds. The archive runs in {rate['precision']}.",
        )
    if nodes:
        how.insert(-1, f"Ray: {nodes['images']:,} images, startup included.")
    return (
        f"{table(['', 'measured', 'target'], rows)}\n\n{' '.join(how)} "
        f"{document.measured('scoring', result['machine'])}\n"
    )


def _rates(found: list[float]) -> str:
    return spread(found, ".0f", " images/s")


def _ratio(ours: list[float], theirs: list[float], aim: float) -> tuple[str, str]:
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    said = spread(ratios, ".2f")
    return f"**{said}**" if median(ratios) >= aim else f"{said}, missed", f">= {aim:g}"


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--only", choices=QUESTIONS, action="append", help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="few images, and the docs stay")
    arguments = parser.parse_args()
    chosen = arguments.only or list(QUESTIONS)
    # Of the others, what was measured before stays.
    before = document.load("scoring") if arguments.only and not arguments.quick else {}
    result = before | document.conditions()
    with progress() as bars:
        for each in chosen:
            result[each] = QUESTIONS[each](arguments.quick, bars)
            document.keep("scoring", result, arguments.quick)  # a later one may fail
    print(page(result))
    if not arguments.quick:
        document.write(document.DOCS / "scoring.md", "scoring", page(result))


if __name__ == "__main__":
    main()
