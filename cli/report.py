"""falconet report, falconet explore"""

import json
from pathlib import Path

import click

from .data import data_option
from .words import load


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print where the page is as JSON.")
def report(run: Path, data: Path | str, as_json: bool) -> None:
    """Make a page about a RUN: its curves, and what it gets right and wrong on the test set.

    Writes RUN/report/index.html, which needs no other file, and its images as PNGs.
    """
    from falconet.training import recipes
    from falconet.training.report import report as write
    from falconet.training.run import Run

    _say(write(Run(run), recipes.begun(Run(run)), data), as_json)


@click.command()
@data_option
@click.option("--recipe", default="champion", show_default=True, help="Whose augmentation to show.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs/explore"),
    show_default=True,
    help="Folder of the page.",
)
@click.option("--json", "as_json", is_flag=True, help="Print where the page is as JSON.")
def explore(data: Path | str, recipe: str, output: Path, as_json: bool) -> None:
    """Make a page about a training set: samples, classes, statistics, augmentation."""
    from falconet.training.explore import explore as write

    _say(write(data, load(recipe), output), as_json)


def _say(path: Path, as_json: bool) -> None:
    click.echo(json.dumps({"page": str(path)}) if as_json else str(path))
