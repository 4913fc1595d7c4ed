"""falconet tune"""

import json
from pathlib import Path

import click

from .data import data_option
from .teacher import teacher_option
from .words import load, only, separate


@click.command()
@click.argument("words", nargs=-1, metavar="RECIPE [FIELD=LOW..HIGH | FIELD=A|B | FIELD=VALUE]...")
@data_option
@click.option("--trials", type=click.IntRange(1), default=20, show_default=True, help="Runs.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the runs; a search that is there goes on.  [default: runs/tune-RECIPE]",
)
@teacher_option
@click.option("--json", "as_json", is_flag=True, help="Print the best values as JSON.")
def tune(
    words: tuple[str, ...],
    data: Path | str,
    trials: int,
    output: Path | None,
    teacher: Path | None,
    as_json: bool,
) -> None:
    """Search hyper-parameters of a RECIPE by accuracy on the images held out.

    \b
    falconet tune fast94 validation=5000 epochs=8 'learning_rate=0.2..2' 'cutout=0|6|10'

    Without ranges, what the recipe names itself. Runs that lie below the median are given up.
    """
    from falconet.training import tune as search

    names, assignments = separate(words)
    ranges = [word for word in assignments if ".." in word or "|" in word]
    fixed = [word for word in assignments if word not in ranges]
    recipe = load(only(names), fixed)
    try:
        space = search.parse(ranges or recipe.space, recipe)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not space:
        raise click.UsageError(
            f"{recipe.name} names no ranges: add some, like learning_rate=0.1..1"
        )
    folder = output or Path("runs", f"tune-{recipe.name}")
    best = dict(search.tune(recipe, space, data, folder, trials, teacher))
    if as_json:
        click.echo(json.dumps({"folder": str(folder), **best}))
        return
    accuracy = best.pop("validation_accuracy")
    found = " ".join(f"{name}={value}" for name, value in best.items())
    click.echo(f"{accuracy:.2%} on the images held out; all trials: {folder / 'trials.csv'}")
    click.echo(f"falconet train {' '.join([recipe.name, *fixed])} {found}")
