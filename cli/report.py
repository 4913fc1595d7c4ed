"""falconet report, falconet explore"""

import json
from pathlib import Path

import click

from .data import data_option
from .recipe_arguments import load_recipe


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print the path of the page as JSON.")
def report(run: Path, data: Path | str, as_json: bool) -> None:
    """Writes a page about a training RUN: its curves, and its predictions on the test set.

    The page is RUN/report/index.html, which needs no other file; its images are also PNG files.
    """
    from falconet.training import recipes
    from falconet.training.report import report as write
    from falconet.training.run import Run

    _print_path(write(Run(run), recipes.begun(Run(run)), data), as_json)


@click.command()
@data_option
@click.option(
    "--recipe", default="champion", show_default=True, help="Recipe whose augmentation is shown."
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs/explore"),
    show_default=True,
    help="Output folder of the page.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the path of the page as JSON.")
def explore(data: Path | str, recipe: str, output: Path, as_json: bool) -> None:
    """Writes a page about a training set: samples, classes, statistics, augmentation."""
    from falconet.training.explore import explore as write

    _print_path(write(data, load_recipe(recipe), output), as_json)


def _print_path(path: Path, as_json: bool) -> None:
    click.echo(json.dumps({"page": str(path)}) if as_json else str(path))
