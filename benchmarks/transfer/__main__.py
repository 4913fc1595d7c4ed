"""Trains `transfer` on a small set of images, in turn with a script of the usual kind.

    .venv/bin/python -m benchmarks.transfer --data DIR [--quick]

The set is made of CIFAR-10 in DIR: PNG files, 10 classes of 50 images to train on, and of 100 to
test. Both sides start from the same weights of EfficientNet-Lite0 (timm's network, trained on
ImageNet) and have the same settings: those of the recipe, at 128 x 128; but the script decays
biases and norms as well, as PyTorch does unless told otherwise. The script reads images by
torchvision's ImageFolder and a DataLoader with a process for each core, and computes in float32.
The time is that of the command that trains, from its start to its end; the accuracy is on the test
images, after it. Writes benchmarks/results/transfer.json and the table in docs/training.md. Takes a
quarter of an hour on two cores; ``--quick`` is for trying it.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from falconet.model.backbone import preprocessing
from falconet.training import data, recipes
from falconet.training.optimizer import SGD
from falconet.training.schedule import Triangle

from .. import document
from ..progress import progress
from ..table import spread, table
from .weights import NETWORK, download

SIZE, VALIDATION = 128, 100
TRAINING_IMAGES, TEST_IMAGES = 50, 100  # of each class
SEEDS = 3
SCRIPT = Path(__file__).with_name("script.py")
TARGET = 1.0  # times the script's time


def make(source: Path, folder: Path) -> None:
    """Write the set: the first images of each class of CIFAR-10."""
    for part, count in (("train", TRAINING_IMAGES), ("test", TEST_IMAGES)):
        dataset = data.load(source, part)
        for label, name in enumerate(dataset.classes):
            place = folder / part / name
            place.mkdir(parents=True)
            for i in np.flatnonzero(dataset.labels == label)[:count]:
                (place / f"{i}.png").write_bytes(data.encode(dataset.images[i]))


def run(command: Sequence[object]) -> str:
    """Run a command, and return what it prints."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[1]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def train_falconet(folder: Path, weights: Path, epochs: int, seed: int) -> tuple[float, float]:
    """Seconds of `falconet train`, and the accuracy of its weights on the test set."""
    falconet = (sys.executable, "-m", "falconet.cli")
    output = folder / "runs" / str(seed)
    places = ["--data", folder / "set", "--output", output, "--weights", weights]
    settings = [f"size={SIZE},{SIZE}", f"validation={VALIDATION}", f"epochs={epochs}"]
    began = time.perf_counter()
    run([*falconet, "train", f"--init-from=timm:{NETWORK}", *settings, f"seed={seed}", *places])
    seconds = time.perf_counter() - began
    asked = ["evaluate", output / "weights.pt", "--data", folder / "set", "--json"]
    return seconds, json.loads(run([*falconet, *asked]))["accuracy"]


def train_script(folder: Path, weights: Path, epochs: int, seed: int) -> tuple[float, float]:
    """The same for the script, with the settings of the recipe."""
    command = [sys.executable, SCRIPT, folder / "set", folder / f"{seed}.pt", *settings(epochs)]
    command += ["--network", NETWORK, "--weights", weights, "--seed", seed]
    began = time.perf_counter()
    run(command)
    seconds = time.perf_counter() - began
    return seconds, float(run([*command, "--test"]))


SCRIPT_SIDE = "torchvision script"
SIDES: dict[str, Callable[[Path, Path, int, int], tuple[float, float]]] = {
    SCRIPT_SIDE: train_script,
    "Falconet": train_falconet,
}


def settings(epochs: int) -> list[object]:
    """Settings of the recipe `transfer`, as options of the script."""
    recipe = recipes.load("transfer")
    moves, optimizer, schedule = recipe.augmentation, recipe.optimizer, recipe.schedule
    stated = preprocessing(f"timm:{NETWORK}", (SIZE, SIZE))
    assert isinstance(optimizer, SGD)
    assert isinstance(schedule, Triangle)
    assert optimizer.nesterov  # as in the script
    options: dict[str, object] = {
        "mean": stated["mean"][0],
        "std": stated["std"][0],
        "size": SIZE,
        "resize": stated["resize"],
        "validation": VALIDATION,
        "epochs": epochs,
        "batch-size": recipe.batch_size,
        "learning-rate": optimizer.learning_rate,
        "backbone-rate": recipe.backbone_rate,
        "momentum": optimizer.momentum,
        "weight-decay": optimizer.weight_decay,
        "label-smoothing": recipe.label_smoothing,
        "warm-up": schedule.warm_up,
        "random-crop": moves.random_crop,
        "jitter": moves.brightness,
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def page(result: dict[str, Any]) -> str:
    """The table, and what was compared."""
    sides = result["sides"]
    rows = []
    for name, side in sides.items():
        ratios = [
            a / b for a, b in zip(side["seconds"], sides[SCRIPT_SIDE]["seconds"], strict=True)
        ]
        percents = [100 * each for each in side["accuracy"]]
        rows.append(
            [
                name,
                f"{mean(percents):.2f} % ± {stdev(percents):.2f}",
                spread(side["seconds"], ".0f", " s"),
                "" if name == SCRIPT_SIDE else spread(ratios, ".2f"),
            ]
        )
    head = ["", "test accuracy", "training", f"times the script's (target {TARGET})"]
    return f"""{table(head, rows)}

10 classes x {TRAINING_IMAGES} images of CIFAR-10, as PNG files, {VALIDATION} of them held out;
{result["epochs"]} epochs at {SIZE} x {SIZE}, from the ImageNet weights of `timm:{NETWORK}`;
{10 * TEST_IMAGES:,} test images. {len(percents)} seeds, in turn: mean accuracy with its deviation,
median time and range.
{document.measured("transfer", result["machine"])}
"""


def main() -> None:
    parser = document.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="two epochs, two seeds, into build/")
    given = parser.parse_args()
    epochs = 2 if given.quick else recipes.load("transfer").epochs
    result: dict[str, Any] = document.conditions() | {"epochs": epochs, "sides": {}}
    with TemporaryDirectory(prefix="falconet-") as temporary, progress() as bars:
        folder = Path(temporary)
        make(given.data, folder / "set")
        weights = download(folder / "weights.pt")
        seeds = 2 if given.quick else SEEDS
        bar = bars.add_task("training", total=seeds * len(SIDES))
        for seed in range(seeds):
            for name, side in SIDES.items():
                seconds, accuracy = side(folder, weights, epochs, seed)
                place = result["sides"].setdefault(name, {"seconds": [], "accuracy": []})
                place["seconds"].append(seconds)
                place["accuracy"].append(accuracy)
                bars.advance(bar)
    print(page(result))
    document.keep("transfer", result, given.quick)
    if not given.quick:
        document.write(document.DOCS / "training.md", "transfer", page(result))


if __name__ == "__main__":
    main()
