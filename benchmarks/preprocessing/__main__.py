"""Measures preprocessing beside the libraries that do the same, and writes it down.

    .venv/bin/python -m benchmarks.preprocessing [--quick]

A library that is not there is left out, and named. Writes benchmarks/results/preprocessing.json,
docs/preprocessing.svg, and the tables in docs/preprocessing.md. Takes eight minutes;
stops at the first answer of ours that is not Pillow's. With --quick it takes three, and writes into
build/preprocessing/ instead.
"""

import os
from typing import Any

from .. import document
from .plot import plot
from .report import page
from .run import run
from .targets import compare

ROUNDS = 15
QUICK = 3
HOW = (
    "In every round each contender runs once, in shuffled order, as a block: one call that is not "
    "timed, then at least three, and 5 ms, that are. A block's value is the median of its calls. "
    "Given are the medians and quartiles of the rounds; a ratio is formed within a round."
)


def measure(rounds: int) -> dict[str, Any]:
    """Everything, with one thread and with two."""
    conditions = document.conditions()
    runs = {threads: run(threads, rounds) for threads in (1, 2) if threads <= (os.cpu_count() or 1)}
    one = runs[1]
    jobs = [job for each in runs.values() for job in each["jobs"]]
    return {
        **conditions,
        "rounds": rounds,
        "how": HOW,
        "machine": one["machine"],
        "versions": one["versions"],
        "missing": one["missing"],
        "targets": compare(jobs, one["memory"]),
        "jobs": jobs,
        "memory": {str(threads): each["memory"] for threads, each in runs.items()},
        "shapes": one["shapes"],
    }


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} rounds, into build/ alone")
    quick = parser.parse_args().quick
    result = measure(QUICK if quick else ROUNDS)
    docs = document.keep("preprocessing", result, quick)
    small, *rest = result["jobs"]
    large = [job for job in rest if job["kind"] == "batch" and job["filter"] == "bilinear"][:3]
    plot([*large, small], docs / "preprocessing.svg")
    if quick:
        (docs / "preprocessing.md").write_text(page(result))
    else:
        document.write(document.DOCS / "preprocessing.md", "preprocessing", page(result))
    print(page(result))


if __name__ == "__main__":
    main()
