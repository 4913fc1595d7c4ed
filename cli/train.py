"""falconet train"""

import json
import time
from pathlib import Path

import click

from falconet.training import recipes
from falconet.training.recipe import Recipe


@click.command(
    epilog="\b\nRecipes:\n"
    + "\n".join(f"  {name:<8} {recipes.load(name).about}" for name in recipes.names())
)
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with train/<class>/<picture> and test/<class>/<picture>. "
    "Without it, CIFAR-10 is downloaded into data/.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run.  [default: runs/RECIPE-TIME]",
)
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a run to go on with, with the recipe it began with.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def train(
    recipe: str,
    overrides: tuple[str, ...],
    data: Path | None,
    output: Path | None,
    resume: Path | None,
    as_json: bool,
) -> None:
    """Train a network by a RECIPE, some of its fields replaced.

    \b
    falconet train fast
    falconet train fast epochs=10 learning_rate=0.5 --data pictures/

    Leaves weights.pt in the run's folder, for: falconet archive runs/.../weights.pt
    """
    if output is not None and resume is not None:
        raise click.UsageError("--output begins a run and --resume goes on with one: name one")
    try:
        chosen = recipes.load(recipe).override(overrides)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    folder = resume or output or Path("runs", f"{recipe}-{time.strftime('%Y%m%d-%H%M%S')}")
    _train(chosen, data, folder, resume is not None, as_json)


def _train(recipe: Recipe, data: Path | None, folder: Path, resume: bool, as_json: bool) -> None:
    from falconet.training.train import train  # imports torch

    weights = train(recipe, data, folder, resume=resume)
    accuracy = weights.card["validation_accuracy"]
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "validation_accuracy": accuracy}))
    else:
        held_out = "" if accuracy is None else f", {accuracy:.2%} on the pictures held out"
        click.echo(f"{folder / 'weights.pt'}{held_out}")
