"""One run of a recipe, in a process of its own.

    python -m benchmarks.gpu.row NAME SEED DATA RUNS RESULTS [FIELD=VALUE]...

Continues the run if it was interrupted. The result goes into RESULTS/NAME.json, in the form of
training/measured/, to those of other seeds.
"""

import sys
from dataclasses import replace
from pathlib import Path

from falconet.training import recipes
from falconet.training.reproduce import reproduce
from falconet.training.results import Result


def main() -> None:
    name, seed, data, runs, results, *fields = sys.argv[1:]
    published = recipes.load(name)
    recipe = replace(published.override(fields), seed=int(seed))
    found = reproduce(recipe, published, data, Path(runs), seeds=1)
    found.with_runs_of(Result.load(name, Path(results))).save(Path(results))


if __name__ == "__main__":
    main()
