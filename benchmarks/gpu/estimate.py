"""How many seconds a run of a recipe takes on this kind of device, before it is begun."""

from collections.abc import Iterable
from statistics import mean

from falconet.training.recipe import Recipe
from falconet.training.results import Measured, Result

# Of a process: it imports torch, decodes 60,000 images, and tests the network at its end.
START = 20.0
TRAINING_IMAGES, CLASSES = 50_000, 10
OPERATIONS = 6  # of training, for each multiply-add: two forward, four backward
# What is assumed where nothing was measured: seconds of a step besides its operations, and
# operations per second in float32 and in bfloat16. Of an H200 with some runs at the same time, and
# of two cores.
STEP = {"cuda": 5e-3, "cpu": 2e-3}
RATE = {
    "cuda": {"float32": 15e12, "bfloat16": 100e12},
    "cpu": {"float32": 2e11, "bfloat16": 2e11},
}


def seconds(recipe: Recipe, device: str, epochs: int | None = None) -> float:
    """Of a process that runs so many epochs, or all.

    Those of runs on the same kind of device, if there are any in training/measured/; otherwise from
    the numbers of steps and of multiply-adds.

    Args:
        recipe: as it is run.
        device: ``"cuda"`` or ``"cpu"``.
        epochs: of it; ``None`` is all.
    """
    return START + (recipe.epochs if epochs is None else epochs) * epoch(recipe, device)


def epoch(recipe: Recipe, device: str) -> float:
    """Seconds of one epoch."""
    result = Result.load(recipe.name)
    if result is not None and (known := list(_on(device, result.runs))):
        return mean(run.seconds / run.epochs for run in known)
    images = TRAINING_IMAGES - (0 if recipe.hold_out == "test" else recipe.validation)
    images = min(images, recipe.per_class * CLASSES or images)
    operations = OPERATIONS * recipe.cost().multiply_adds * images
    steps = images // recipe.batch_size
    return steps * STEP[device] + operations / RATE[device][recipe.precision]


def _on(device: str, runs: Iterable[Measured]) -> Iterable[Measured]:
    """Runs that were on that kind of device from their beginning to their end."""
    for run in runs:
        places = [run.environment, *run.environment.get("then", [])]
        if all((place["device"] == "cpu") == (device == "cpu") for place in places):
            yield run
