"""Measures preprocessing beside the libraries that do the same, and writes it down.

    .venv/bin/python benchmarks/preprocess.py [--quick]

Needs the extra `benchmarks`; a library that is not there is left out, and named. Writes
benchmarks/results/preprocess.json, docs/preprocessing.svg, and the tables in docs/preprocessing.md
and README.md. Takes eight minutes; stops at the first answer of ours that is not Pillow's. With
--quick it takes three, and writes into build/preprocess/ instead.
"""

import argparse
import json
import os
from datetime import datetime, timezone
from typing import Any

from document import DOCS, RESULTS, ROOT, replace_between
from preprocessing.plot import plot
from preprocessing.report import page, summary
from preprocessing.run import run
from preprocessing.targets import compare

DRAFT = ROOT / "build" / "preprocess"
ROUNDS = 15
QUICK = 3
HOW = (
    "In every round each contender runs once, in shuffled order, as a block: one call that is not "
    "timed, then at least three, and 5 ms, that are. A block's value is the median of its calls. "
    "Given are the medians and quartiles of the rounds; a ratio is formed within a round."
)


def measure(rounds: int) -> dict[str, Any]:
    """Everything, with one thread and with two."""
    load = os.getloadavg()[0]
    runs = {threads: run(threads, rounds) for threads in (1, 2) if threads <= (os.cpu_count() or 1)}
    one = runs[1]
    jobs = [job for each in runs.values() for job in each["jobs"]]
    return {
        "rounds": rounds,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "load": load,
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} rounds, into build/ alone")
    quick = parser.parse_args().quick
    result = measure(QUICK if quick else ROUNDS)
    results, docs = (DRAFT, DRAFT) if quick else (RESULTS, DOCS)
    results.mkdir(parents=True, exist_ok=True)
    (results / "preprocess.json").write_text(json.dumps(result, indent=1) + "\n")
    small, *rest = result["jobs"]
    large = [job for job in rest if job["kind"] == "batch" and job["filter"] == "bilinear"][:3]
    plot([*large, small], docs / "preprocessing.svg")
    if quick:
        (docs / "preprocessing.md").write_text(page(result))
    else:
        replace_between(DOCS / "preprocessing.md", "preprocess", page(result))
        if "<!-- preprocess start" in (ROOT / "README.md").read_text():
            replace_between(ROOT / "README.md", "preprocess", summary(result))
        else:
            print("README.md has no place for the table")
    print(summary(result))


if __name__ == "__main__":
    main()
