"""falconet report, falconet explore"""

import json
from pathlib import Path

import click

from .data import data_option
from .recipe_arguments import load_recipe


@click.command()
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    metavar="RUN...",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@data_option
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Output folder of the page.  [default: RUN/report; runs/comparison for several runs]",
)
@click.option(
    "--least-precision",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="Precision that the probability threshold of each class has to reach on the images held "
    "out; for one run.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the path of the page as JSON.")
def report(
    runs: tuple[Path, ...],
    data: Path | str,
    output: Path | None,
    least_precision: float,
    as_json: bool,
) -> None:
    """Writes a page about a training RUN, or a page that compares several.

    For one run: its curves, its predictions on the test set, how well its probabilities are
    calibrated, and the probability from which each class reaches a precision. For several: the
    recipe fields that differ, the curves, and the results on the test set, side by side.

    The page index.html needs no other file; its images are also PNG files beside it.
    """
    from falconet.training import recipes
    from falconet.training.comparison import compare
    from falconet.training.report import report as write
    from falconet.training.run import Run

    recipes.load_all()  # registers their networks
    if len(runs) > 1:
        page = compare([Run(run) for run in runs], data, output or Path("runs/comparison"))
    else:
        run = Run(runs[0])
        page = write(run, recipes.begun(run), data, output, least_precision)
    _print_path(page, as_json)


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
