"""Runs all that may go wrong at once, for an hour, and counts what is lost.

    .venv/bin/python -m benchmarks.soak [--seconds N]

Needs nginx. Load, hostile requests, slow clients, a deploy or a rollback every minute, a worker
killed every ten; every answer's label is compared with the one found offline. An hour or
more is written to benchmarks/results/soak.json and docs/operations.md, less to build/soak/. Ends
with 1 if a request was lost other than in a killed worker, a hostile request got a wrong status, or
an operation failed; the target of memory is only reported.
"""

from statistics import median
from typing import Any

from .. import document
from ..faults.stack import Stack
from ..progress import progress
from ..table import counts, table
from .troubles import soak

SECONDS = 3600.0
RATE = 100.0
DEPLOY_SECONDS = 60.0
KILL_SECONDS = 600.0


def growth(memory: list[dict[str, int]]) -> dict[str, tuple[float, float]]:
    """Bytes of each process: the medians of the second fifth of the time, and of the last.

    In the first fifth caches fill up, and Java compiles.
    """
    fifth = max(1, len(memory) // 5)
    parts = [memory[fifth : 2 * fifth] or memory[:1], memory[-fifth:]]
    return {
        name: (median(each[name] for each in parts[0]), median(each[name] for each in parts[1]))
        for name in memory[0]
    }


def report(result: dict[str, Any]) -> str:
    """What the docs say of it."""
    rows = [
        ("requests", f"{result['requests']:,}", ""),
        ("deploys and rollbacks", f"{result['deploys']}", ""),
        ("workers killed", f"{result['kills']}", ""),
        ("requests lost in a killed worker", f"{result['lost_in_killed_workers']}", "<= 16 each"),
        ("requests lost otherwise", f"{result['lost_otherwise']}", "0"),
        ("requests rejected with status 429", f"{result['refused']}", ""),
        ("hostile requests", f"{result['hostile']:,}", ""),
        ("hostile requests that got a wrong status", f"{result['unfair']}", "0"),
    ]
    for name, (start, end) in growth(result["memory"]).items():
        said = f"{start / 1e6:.0f} MB, then {end / 1e6:.0f} MB ({end / start - 1:+.1%})"
        rows.append((f"memory of {name}", said, "at most +5 %"))
    return "\n".join(
        [
            table(["", "measured", "target"], rows),
            "",
            f"{result['seconds'] / 60:.0f} minutes through `falconet gateway`: {RATE:.0f} "
            f"requests/s, a deploy or a rollback every {DEPLOY_SECONDS:.0f} s, a worker killed "
            f"every {KILL_SECONDS:.0f} s, hostile requests and slow clients. The label of every "
            "response is compared with the label that was computed offline; requests without "
            f"predictions, by status: {counts(result['lost']) or 'none'}. Memory is the private "
            "memory of a process: the median of the second fifth of the time, and of the last "
            "fifth. "
            f"{document.measured('soak', result['machine'])}",
        ]
    )


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
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
    print(report(result), *(f"error: {error}" for error in result["errors"]), sep="\n")
    document.keep("soak", result, quick=seconds < SECONDS)
    if seconds >= SECONDS:
        document.write(document.DOCS / "operations.md", "soak", report(result) + "\n")
    if result["lost_otherwise"] or result["unfair"] or result["errors"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
