"""A page that compares several runs: recipe fields that differ, curves, and results."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from falconet.model.weights import Weights

from . import data, page, plots
from .evaluate import answers, score_of
from .reliability import Reliability
from .results import duration
from .run import Run, machine


def compare(runs: Sequence[Run], source: Path | str, folder: Path) -> Path:
    """Write ``index.html`` with results on the test set into a folder, and return its path.

    Unfinished runs have curves, but no results.

    Raises:
        FileNotFoundError: one of the folders holds no run.
        ValueError: the test set has other classes than a run.
    """
    fields = [_fields(run) for run in runs]
    names = _names(runs)
    heading = ["", *names]
    differing = _differing(fields)
    text = "" if differing else "All fields of the recipes are the same."
    results = _table([_results(run, source) for run in runs])
    sections = [
        page.Section("Results", "On the test set, one view of each image.", [heading, *results]),
        page.Section("Recipe fields that differ", text, [heading, *differing] if differing else []),
        page.Section(
            "Learning curves",
            "The training accuracy is measured during the epoch, on augmented images.",
            image=plots.compared_curves(
                {name: run.rows() for name, run in zip(names, runs, strict=True)}
            ),
            file="curves",
        ),
    ]
    return page.write(folder, f"{len(runs)} runs", ", ".join(names), sections)


def _fields(run: Run) -> dict[str, Any]:
    """Read from the run's file, because the recipe's fields may have changed since."""
    run.recipe_name()
    fields: dict[str, Any] = json.loads(run.recipe.read_text())
    return fields


def _names(runs: Sequence[Run]) -> list[str]:
    """The names of the folders; if two are the same, their paths below a shared folder."""
    folders = [run.folder.resolve() for run in runs]
    if len({folder.name for folder in folders}) == len(folders):
        return [folder.name for folder in folders]
    shared = os.path.commonpath(folders)
    return [os.path.relpath(folder, shared) for folder in folders]


def _differing(fields: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A row for each field: its name, and its value in each run as on a command line."""
    names = dict.fromkeys(name for each in fields for name in each)
    rows = [[name, *(_written(each, name) for each in fields)] for name in names]
    return [row for row in rows if len(set(row[1:])) > 1]


def _written(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "no such field")
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(columns: Sequence[Mapping[str, str]]) -> list[list[str]]:
    names = dict.fromkeys(name for column in columns for name in column)
    return [[name, *(column.get(name, "") for column in columns)] for name in names]


def _results(run: Run, source: Path | str) -> dict[str, str]:
    """Results as text, by name."""
    rows = run.rows()
    found = {"accuracy": "not finished"}
    if run.weights.exists():
        weights = Weights.load(run.weights)
        dataset = data.load_test(source, weights.spec.classes, weights.spec.formats)
        labels = torch.from_numpy(dataset.labels)
        _, logits = answers(weights, dataset)
        temperature = weights.spec.temperature
        score = score_of(logits / temperature, labels)
        error = Reliability.of(weights.spec.probabilities(logits), labels).error
        held = weights.card["validation_accuracy"]
        found = {
            "accuracy": f"{score.accuracy:.2%}",
            "cross-entropy": f"{score.loss:.4f}",
            "expected calibration error": f"{error:.2%}",
            "temperature": f"{temperature:g}",
            "accuracy on the images held out": "" if held is None else f"{held:.2%}",
        }
    return {
        **found,
        "epochs": str(len(rows)),
        "training time": duration(sum(float(row["seconds"]) for row in rows)),
        "machine": machine(run.environment()),
    }
