"""How many seconds a run of a recipe takes, before it starts."""

from collections.abc import Iterable
from functools import cache
from statistics import mean, median

from falconet.training import recipes
from falconet.training.recipe import Recipe
from falconet.training.results import Measured, Result
from falconet.training.run import Run

# A process imports torch, decodes 60,000 images, and tests the network at its end.
START_SECONDS = 15.0
TRAINING_IMAGES, CLASSES = 50_000, 10
OPERATIONS = 6  # of training, for each multiply-add: two forward, four backward
# Without measurements: overhead of a step in seconds, and operations per second, of an H200 with
# some runs at the same time, and of two cores.
STEP_SECONDS = {"cuda": 5e-3, "cpu": 2e-3}
OPERATIONS_PER_SECOND = {
    "cuda": {"float32": 15e12, "bfloat16": 100e12},
    "cpu": {"float32": 2e11, "bfloat16": 2e11},
}


def seconds(recipe: Recipe, device: str, run: Run, epochs: int) -> float:
    """Expected seconds of a process that trains this many epochs.

    Args:
        recipe: as it is run.
        device: ``"cuda"`` or ``"cpu"``.
        run: of the recipe, which may have epochs already.
        epochs: number of epochs to train.
    """
    return START_SECONDS + epochs * epoch(recipe, device, run)


def minimum(recipe: Recipe, device: str, run: Run) -> float:
    """Seconds in which a process finishes at least one epoch, with some reserve."""
    return START_SECONDS + max(5.0, 1.5 * epoch(recipe, device, run))


def epoch(recipe: Recipe, device: str, run: Run) -> float:
    """Expected seconds of an epoch.

    Measured in the run itself, if it has epochs; else taken from training/measured/ for the same
    kind of device; else computed from the numbers of steps and multiply-adds.
    """
    if rows := run.rows():
        return median(float(row["seconds"]) for row in rows)
    result = Result.load(recipe.name)
    if result is not None and (known := list(_on(device, result.runs))):
        return mean(run.seconds / run.epochs for run in known)
    images = training_images(recipe)
    operations = OPERATIONS * multiply_adds(recipe.name) * images
    steps = images // recipe.batch_size
    rate = OPERATIONS_PER_SECOND[device][recipe.precision]
    return steps * STEP_SECONDS[device] + operations / rate


def training_images(recipe: Recipe) -> int:
    """How many of CIFAR-10's images a recipe trains on."""
    images = TRAINING_IMAGES - (0 if recipe.hold_out == "test" else recipe.validation)
    return min(images, recipe.per_class * CLASSES or images)


@cache
def multiply_adds(name: str) -> int:
    """Multiply-adds of a recipe's network for one image."""
    return recipes.load(name).cost().multiply_adds


def _on(device: str, runs: Iterable[Measured]) -> Iterable[Measured]:
    """Runs that were on this kind of device from their beginning to their end."""
    for run in runs:
        places = [run.environment, *run.environment.get("then", [])]
        if all((place["device"] == "cpu") == (device == "cpu") for place in places):
            yield run
