"""Trains the networks of publications in Keras itself and by our recipes, epoch by epoch.

    .venv/bin/python -m benchmarks.keras --data DIR --python PYTHON [NETWORK]... [--seeds 3]

PYTHON is that of another environment, made with `pip install keras tensorflow-cpu scipy`; for a
GPU, with `pip install keras 'jax[cuda13]' scipy` and KERAS_BACKEND=jax set. Both sides train on the
same images in float32. Every epoch is written as it finishes: of Keras into
RUNS/keras/NETWORK-SEED/epochs.jsonl, of ours into the run folders RUNS/RECIPE-SEED, which
`falconet reproduce RECIPE precision=float32 --runs RUNS` uses as well. The same command continues
an interrupted run.

After each seed, or without training after --seeds 0, all runs in RUNS are written into
benchmarks/results/keras.json, the tables in docs/training.md, and the verdicts there. With --epochs
or --images, which make runs shorter, the tables are printed and written into build/keras/ instead.
--steps only compares settings and first steps, which takes a minute.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np

from falconet.training import data, recipes
from falconet.training.prepared import prepare
from falconet.training.recipe import Recipe
from falconet.training.recipe_file import from_json
from falconet.training.reproduce import train_or_go_on
from falconet.training.run import Run, machine
from falconet.training.selection import select
from falconet.training.verdict import Late, late, spread

from .. import document
from ..table import table
from .agreement import RECIPES, SOURCE, STEPS, first_steps, keras_settings, our_settings, recipe_of

PAGE = document.DOCS / "training.md"
SHOWN = (1, 2, 5, 10, 20, 50, 75, 100, 125, 150, 200)  # epochs
SIDES = ("keras", "falconet")
HIDDEN = ("versions", "fill", "interpolation order")  # reported by Keras only


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


def train_keras(network: str, recipe: Recipe, given: argparse.Namespace, folder: Path) -> None:
    """Train Keras' side, or continue an interrupted run."""
    log, images = folder / "epochs.jsonl", folder / "images.npz"
    lines = log.read_text().splitlines() if log.exists() else []
    if len(lines) < recipe.epochs:
        images_of(recipe, given.data, images)
        command = [str(given.python), str(SOURCE), "train", network, "--images", str(images)]
        command += ["--output", str(folder), "--epochs", str(recipe.epochs)]
        subprocess.run([*command, "--seed", str(recipe.seed)], check=True)
        images.unlink()


def train(network: str, seed: int, given: argparse.Namespace) -> None:
    """Train both sides with a seed, or continue interrupted runs."""
    recipe = recipe_of(network).override([f"seed={seed}"])
    if given.epochs:
        recipe = recipe.override([f"epochs={given.epochs}"])
    if given.images:
        recipe = recipe.override([f"per_class={given.images // 10}"])
    train_keras(network, recipe, given, given.runs / "keras" / f"{network}-{seed}")
    train_or_go_on(recipe, given.data, Run(given.runs / f"{recipe.name}-{seed}"), given.runs)


class History(NamedTuple):
    """A run of one side, finished or not.

    Attributes:
        epochs: accuracy on the images trained on and on those held out, of each epoch.
        about: how it was trained.
    """

    epochs: list[dict[str, float]]
    about: str


def histories(network: str, folder: Path) -> dict[str, list[History]]:
    """The runs of both sides in a folder, finished or not.

    Ours have the recipe's fields except for seed, precision and number of epochs.
    """
    recipe = recipe_of(network)
    found: dict[str, list[History]] = {side: [] for side in SIDES}
    for log in sorted(folder.glob(f"keras/{network}-[0-9]*/epochs.jsonl")):
        epochs = [_accuracies(json.loads(line)) for line in log.read_text().splitlines()]
        environments = json.loads((log.parent / "environments.json").read_text())
        about = "; then ".join(map(_versions, environments))
        found["keras"].append(History(epochs, about))
    for run in map(Run, sorted(folder.glob(f"{recipe.name}-[0-9]*"))):
        trained = from_json(run.recipe.read_text(), recipe)
        may_differ = {"seed": recipe.seed, "precision": recipe.precision, "epochs": recipe.epochs}
        if replace(trained, **may_differ) == recipe and (rows := run.rows()):
            about = f"{trained.precision}, {machine(run.environment())}"
            found["falconet"].append(History([_accuracies(row) for row in rows], about))
    return found


def _accuracies(line: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(line[name]) for name in ("accuracy", "validation_accuracy")}


def _versions(environment: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in environment.items())


def recipes_in(network: str) -> list[Recipe]:
    """The recipe, and the shorter ones with which it has its first epochs in common."""
    found = [recipe_of(network)]
    while found[-1].after:
        found.append(recipes.load(found[-1].after))
    return found[::-1]


def add_runs(result: dict[str, Any], network: str, runs: Mapping[str, Sequence[History]]) -> None:
    """Put the runs of a network into the result, in place of earlier ones of the same side."""
    found = result["epochs"].setdefault(network, {"runs": {side: [] for side in SIDES}})
    for side in SIDES:
        if not runs[side]:
            continue  # keeps earlier results
        for recipe in recipes_in(network):
            ends = result["recipes"].setdefault(recipe.name, {each: [] for each in SIDES})
            ends[side] = []
            for run in runs[side]:
                accuracies = [each["validation_accuracy"] for each in run.epochs[: recipe.epochs]]
                end = late(accuracies) if len(accuracies) == recipe.epochs else None
                ends[side] += [list(end)] if end else []
        found[side] = {}
        for epoch in SHOWN:
            some = [run.epochs[epoch - 1] for run in runs[side] if epoch <= len(run.epochs)]
            if some:
                means = {name: round(mean(each[name] for each in some), 4) for name in some[0]}
                found[side][str(epoch)] = {**means, "runs": len(some)}
        found["runs"][side] = [f"{len(run.epochs)} epochs ({run.about})" for run in runs[side]]


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
    """Settings, first steps, and accuracy by epoch."""
    parts, versions = [], ""
    for network, found in result["agreement"].items():
        versions = _versions(found["keras"]["versions"])
        said, steps = found["keras"], found["steps"]
        names = [name for name in said if name not in HIDDEN and said[name] != []]
        rows = [[name, *(shown(found[side][name]) for side in SIDES)] for name in names]
        text = (
            f"Both take {steps['steps']} steps from the same weights on the same batches, in "
            "float64, without dropout and augmentation. The loss goes from "
            f"{steps['first loss']:.3f} to {steps['last loss']:.3f}. The losses of the two differ "
            f"by at most {steps['losses']:.2g} of their value, and the probabilities after the "
            f"last step by at most {steps['probabilities']:.2g}."
        )
        if "fill" in said:
            text += (
                f" Keras transforms images with the fill `{said['fill']}` and interpolation of "
                f"order {said['interpolation order']}. Images that both rotate and shift by the "
                f"same numbers differ by at most {steps['transformed images']:.2g} of the range of "
                "a pixel. For speed, this comparison transforms Keras' images in batches, which "
                f"changes {recipe_of(network).batch_size} images and their mirror images by at "
                f"most {steps['transformed in batches']:.2g}."
            )
        parts += [f"`{network}`, the settings that the objects of both report:"]
        parts += [table(["", "Keras", "here"], rows), text]
    for network, found in result["epochs"].items():
        if not all(found["runs"].values()):
            continue
        rows = []
        for epoch in map(str, SHOWN):
            if any(epoch in found[side] for side in SIDES):
                names = ("accuracy", "validation_accuracy")
                rows.append(
                    [epoch, *(cell(found, side, epoch, n) for n in names for side in SIDES)]
                )
        for recipe in recipes_in(network):
            runs = result["recipes"][recipe.name]
            ends = [str(spread(Late(*each) for each in runs[side]) or "") for side in SIDES]
            if any(ends):
                rows.append([f"last tenth of {recipe.epochs}", "", "", *ends])
        head = ["epoch", "training images, Keras", "here", "images held out, Keras", "here"]
        theirs, ours = (
            "\n".join(f"- {side}: {run}" for run in found["runs"][key])
            for side, key in (("Keras", "keras"), ("here", "falconet"))
        )
        parts += [f"`{network}`, mean accuracy of the runs that reached an epoch:"]
        parts += [f"{theirs}\n{ours}", table(head, rows)]
    measured = document.measured("keras", f"{result['machine']}; {versions}")
    measured += (
        " This is where settings and first steps were compared; runs name their own devices."
    )
    return "\n\n".join([*parts, measured]) + "\n"


def cell(found: Mapping[str, Any], side: str, epoch: str, name: str) -> str:
    """A mean accuracy, with the number of runs if not all reached the epoch."""
    if epoch not in found[side]:
        return ""
    reached = found[side][epoch]["runs"]
    few = f" (n = {reached})" if reached < len(found["runs"][side]) else ""
    return f"{100 * found[side][epoch][name]:.2f} %{few}"


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
    options.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(RECIPES))
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
        for seed in range(given.seeds or 1):
            if given.seeds:
                train(network, seed, given)
            add_runs(result, network, histories(network, given.runs))
            keep(result, quick)


if __name__ == "__main__":
    main()
