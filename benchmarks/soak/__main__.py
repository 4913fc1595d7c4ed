"""Runs all that may go wrong at once, for an hour, and counts what is lost.

    .venv/bin/python -m benchmarks.soak [--seconds N]

Needs nginx. Load, hostile requests, slow clients, a deploy or a rollback every minute, a worker
killed every ten; every answer's label is compared with the one found offline. Writes
build/soak/soak.json, and ends with 1 if anything was lost outside a killed worker.
"""

from typing import Any

from .. import document
from ..faults.stack import Stack
from ..progress import progress
from .troubles import soak

RATE = 100.0
DEPLOY_SECONDS = 60.0
KILL_SECONDS = 600.0


def lines(result: dict[str, Any]) -> str:
    start, end = result["memory"]
    memory = ", ".join(
        f"{name} {start[name] / 1e6:.0f} MB at the start and {end[name] / 1e6:.0f} at the end"
        for name in start
    )
    return "\n".join(
        [
            f"{result['requests']:,} requests and {result['hostile']:,} hostile ones in "
            f"{result['seconds']:.0f} s, {result['deploys']} deploys and rollbacks, "
            f"{result['kills']} workers killed.",
            f"Lost in killed workers: {result['lost_in_killed_workers']}; otherwise: "
            f"{result['lost_otherwise']} ({result['lost'] or 'nothing'}). Refused by 429: "
            f"{result['refused']}. Hostile ones not "
            f"answered as they should be: {result['unfair']}.",
            f"Memory that is a process's alone: {memory}.",
            *(f"error: {error}" for error in result["errors"]),
        ]
    )


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    seconds = parser.parse_args().seconds
    result = document.conditions()
    with progress() as bars, Stack.of_cifar() as stack:
        bar = bars.add_task("seconds", total=seconds)
        result |= soak(
            stack,
            seconds,
            RATE,
            DEPLOY_SECONDS,
            KILL_SECONDS,
            lambda gone: bars.update(bar, completed=min(gone, seconds)),
        )
    print(lines(result))
    document.keep("soak", result, quick=True)
    if result["lost_otherwise"] or result["unfair"] or result["errors"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
