"""One run of a recipe, in a process of its own.

    python -m benchmarks.gpu.train_recipe NAME SEED DATA RUNS RESULTS [FIELD=VALUE]...

Continues the run if it was interrupted. The result goes into RESULTS/NAME.json, in the form of
training/measured/, beside those of other seeds.
"""

import sys
from dataclasses import replace
from pathlib import Path

from falconet.training import recipes
from falconet.training.reproduce import reproduce
from falconet.training.results import Result

from . import child


def main() -> None:
    child.begin()
    name, seed, data, runs, results, *fields = sys.argv[1:]
    published = recipes.load(name)
    recipe = replace(published.override(fields), seed=int(seed))
    result = reproduce(recipe, published, data, Path(runs), seeds=1)
    result.with_runs_of(Result.load(name, Path(results))).save(Path(results))


def kept(name: str, folder: Path) -> Result | None:
    """The result of earlier runs; ``None`` if there is none, or none that can be read.

    A damaged file is named on the standard error and moved aside. Its run is then finished again
    from the folder of the run.
    """
    try:
        return Result.load(name, folder)
    except ValueError as error:
        damaged = folder / f"{name}.json"
        aside = damaged.rename(damaged.with_suffix(".damaged"))
        print(f"{error}; moved to {aside}, and run again", file=sys.stderr)
        return None


if __name__ == "__main__":
    main()
