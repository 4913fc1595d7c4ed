"""Trains the networks of two publications in Keras itself and by our recipes, epoch by epoch.

    .venv/bin/python -m benchmarks.keras --data DIR --python PYTHON [NETWORK]... [--seeds 3]

PYTHON is that of another environment, made with `pip install keras tensorflow-cpu scipy`. Both
sides train on the same images in float32. Every epoch is written as it finishes: of Keras into
RUNS/keras/NETWORK-SEED/epochs.jsonl, of ours into the run folders RUNS/RECIPE-SEED, which
`falconet reproduce RECIPE precision=float32 --runs RUNS` uses as well. An interrupted run goes on.

Writes benchmarks/results/keras.json, the table in docs/training.md, and the verdicts there, each
time that both sides have finished a seed. With --epochs or --images, which make runs shorter, it
prints the table and writes into build/keras/ instead. --steps only compares settings and first
steps, which takes a minute.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from falconet.training import data, recipes
from falconet.training.prepared import prepare
from falconet.training.recipe import Recipe
from falconet.training.reproduce import train_or_go_on
from falconet.training.run import Run
from falconet.training.selection import select
from falconet.training.verdict import Late, late, spread

from .. import document
from ..table import table
from .agreement import RECIPES, SOURCE, STEPS, first_steps, keras_settings, our_settings, recipe_of

PAGE = document.DOCS / "training.md"
SHOWN = (1, 2, 5, 10, 20, 50, 75, 100, 125, 150, 200)  # epochs
SIDES = ("keras", "falconet")
UNSHOWN = ("versions", "fill", "interpolation order")  # not in the table, which has both sides


def images_of(recipe: Recipe, source: Path, file: Path) -> None:
    """Write the images that our run trains on, and those held out, as uint8 ``(N, 32, 32, 3)``."""
    chosen = select(recipe, source)
    spec = recipe.spec(chosen.dataset.classes)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        file,
        train_x=np.stack(prepare(chosen.dataset, chosen.training, spec).images),
        train_y=chosen.labels,
        held_x=np.stack(prepare(chosen.held, chosen.validation, spec).images),
        held_y=chosen.held_labels,
    )


def train_keras(
    network: str, recipe: Recipe, given: argparse.Namespace, folder: Path
) -> list[dict[str, Any]]:
    """Keras' lines, trained if need be."""
    log, images = folder / "epochs.jsonl", folder / "images.npz"
    lines = log.read_text().splitlines() if log.exists() else []
    if len(lines) < recipe.epochs:
        images_of(recipe, given.data, images)
        command = [str(given.python), str(SOURCE), "train", network, "--images", str(images)]
        command += ["--output", str(folder), "--epochs", str(recipe.epochs)]
        subprocess.run([*command, "--seed", str(recipe.seed)], check=True)
        images.unlink()
    return [json.loads(line) for line in log.read_text().splitlines()]


def compare(network: str, seed: int, given: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """The epochs of both sides, of one seed."""
    recipe = recipe_of(network).override([f"seed={seed}"])
    if given.epochs:
        recipe = recipe.override([f"epochs={given.epochs}"])
    if given.images:
        recipe = recipe.override([f"per_class={given.images // 10}"])
    run = Run(given.runs / f"{recipe.name}-{seed}")
    theirs = train_keras(network, recipe, given, given.runs / "keras" / f"{network}-{seed}")
    train_or_go_on(recipe, given.data, run, given.runs)
    numbers = ("accuracy", "validation_accuracy", "seconds")
    ours = [{name: float(row[name]) for name in numbers} for row in run.rows()]
    return {"keras": theirs, "falconet": ours}


def rows_of(network: str) -> list[Recipe]:
    """The recipe, and the shorter ones with which it has its first epochs in common."""
    found = [recipe_of(network)]
    while found[-1].after:
        found.append(recipes.load(found[-1].after))
    return found[::-1]


def add(result: dict[str, Any], network: str, runs: Sequence[dict[str, Any]]) -> None:
    """Put the finished seeds of a network into the result."""
    for side in SIDES:
        for recipe in rows_of(network):
            ends = [
                late([epoch["validation_accuracy"] for epoch in run[side][: recipe.epochs]])
                for run in runs
                if len(run[side]) >= recipe.epochs
            ]
            place = result["recipes"].setdefault(recipe.name, {})
            place[side] = [list(end) for end in ends if end is not None]
        by_epoch = result["epochs"].setdefault(network, {}).setdefault(side, {})
        for epoch in SHOWN:
            some = [run[side][epoch - 1] for run in runs if epoch <= len(run[side])]
            if some:
                by_epoch[str(epoch)] = {
                    name: round(mean(each[name] for each in some), 4)
                    for name in ("accuracy", "validation_accuracy")
                }
        result["epochs"][network]["seeds"] = len(runs)


def agreement(network: str, given: argparse.Namespace) -> dict[str, Any]:
    """Settings and first steps of both sides."""
    dataset = data.load(given.data, "train")
    recipe = recipe_of(network)
    chosen = np.random.default_rng(0).permutation(len(dataset.labels))[: STEPS * recipe.batch_size]
    pixels = np.stack(prepare(dataset, chosen, recipe.spec(dataset.classes)).images)
    return {
        "keras": keras_settings(given.python, network),
        "falconet": our_settings(network),
        "steps": first_steps(given.python, network, pixels, dataset.labels[chosen]),
    }


def page(result: dict[str, Any]) -> str:
    """What was compared: settings, first steps, and the epochs of finished runs."""
    parts, versions = [], ""
    for network, found in result["agreement"].items():
        versions = ", ".join(f"{k} {v}" for k, v in found["keras"]["versions"].items())
        said, steps = found["keras"], found["steps"]
        names = [name for name in said if name not in UNSHOWN and said[name] != []]
        rows = [[name, *(shown(found[side][name]) for side in SIDES)] for name in names]
        text = (
            f"Both take {steps['steps']} steps from the same weights on the same batches, in "
            "float64, without dropout and augmentation. The loss goes from "
            f"{steps['first loss']:.3f} to {steps['last loss']:.3f}. The losses of the two differ "
            f"by at most {steps['losses']:.1g} of their value, and the probabilities after the "
            f"last step by at most {steps['probabilities']:.1g}."
        )
        if "fill" in said:
            text += (
                f" Keras moves images with the fill `{said['fill']}` and interpolation of order "
                f"{said['interpolation order']}. Images that both rotate and shift by the same "
                f"numbers differ by at most {steps['moved images']:.1g} of the range of a pixel."
            )
        parts += [f"`{network}`, the settings that the objects of both report:"]
        parts += [table(["", "Keras", "here"], rows), text]
    for network, found in result["epochs"].items():
        rows = []
        for epoch in found["keras"]:
            cells = [
                f"{100 * found[side][epoch][name]:.2f} %"
                for name in ("accuracy", "validation_accuracy")
                for side in SIDES
            ]
            rows.append([epoch, *cells])
        for recipe in rows_of(network):
            runs = result["recipes"][recipe.name]
            ends = [str(spread(Late(*each) for each in runs[side]) or "") for side in SIDES]
            if any(ends):
                rows.append([f"last tenth of {recipe.epochs}", "", "", *ends])
        seeds = found["seeds"]
        count = f"mean of {seeds} seeds" if seeds > 1 else "one seed"
        head = ["epoch", "Keras, trained on", "here", "Keras, held out", "here"]
        parts += [f"`{network}`, accuracy by epoch, {count}:", table(head, rows)]
    measured = document.measured("keras", f"{result['machine']}; {versions}")
    return "\n\n".join([*parts, measured]) + "\n"


def shown(value: Any) -> str:
    """A setting in a cell."""
    if isinstance(value, list):
        return ", ".join(shown(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}"


def keep(result: dict[str, Any], quick: bool) -> None:
    """Write the result, and where it is one in full, the page."""
    document.keep("keras", result, quick)
    if quick:
        print(page(result))
        return
    document.write(PAGE, "keras", page(result))
    command = [sys.executable, "-m", "falconet.cli", "reproduce", "--only-page"]
    subprocess.run(command, check=True, cwd=document.ROOT)


def main() -> None:
    options = document.parser(__doc__)
    options.add_argument("networks", nargs="*", metavar="NETWORK", help="episode2 or elu")
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--python", type=Path, required=True)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int)
    options.add_argument("--images", type=int)
    options.add_argument("--runs", type=Path)
    options.add_argument("--steps", action="store_true")
    given = options.parse_args()
    if unknown := set(given.networks) - RECIPES.keys():
        options.error(f"expected networks of {', '.join(RECIPES)}, got {', '.join(unknown)}")
    quick = bool(given.epochs or given.images)
    given.runs = given.runs or Path("build/keras/runs" if quick else "runs/reproduce")
    result = {"agreement": {}, "recipes": {}, "epochs": {}, **document.conditions()}
    before = document.RESULTS / "keras.json"
    if before.exists() and not quick:
        result = {**document.load("keras"), **document.conditions()}
    for network in given.networks or RECIPES:
        result["agreement"][network] = agreement(network, given)
        if given.steps:
            keep(result, quick)
            continue
        runs = []
        for seed in range(given.seeds):
            runs.append(compare(network, seed, given))
            add(result, network, runs)
            keep(result, quick)


if __name__ == "__main__":
    main()
