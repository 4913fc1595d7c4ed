"""falconet tune"""

import json
from pathlib import Path

import click

from .cache import cache_option
from .data import data_option
from .initial_weights import init_from_option, load_recipe_from, weights_option
from .recipe_arguments import split_assignments
from .teacher import teacher_option


@click.command()
@click.argument(
    "arguments", nargs=-1, metavar="[RECIPE] [FIELD=LOW..HIGH | FIELD=A|B | FIELD=VALUE]..."
)
@data_option
@click.option(
    "--trials", type=click.IntRange(1), default=20, show_default=True, help="Number of runs."
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the runs; a search in it is continued.  [default: runs/tune-RECIPE]",
)
@init_from_option
@weights_option
@teacher_option
@cache_option
@click.option("--json", "as_json", is_flag=True, help="Print the best values as JSON.")
def tune(
    arguments: tuple[str, ...],
    data: Path | str,
    trials: int,
    output: Path | None,
    init_from: Path | str | None,
    weights: Path | None,
    teacher: Path | None,
    cache: int,
    as_json: bool,
) -> None:
    """Searches the hyper-parameters of a RECIPE with the best accuracy on the validation images.

    \b
    falconet tune fast94 validation=5000 epochs=8 'learning_rate=0.2..2' 'cutout=0|6|10'
    falconet tune --init-from torchvision:resnet18 --data photographs/ learning_rate=0.003..0.1

    Without ranges, the search uses those of the recipe. It stops runs that are below the median.
    """
    from falconet.training import tune as search

    names, assignments = split_assignments(arguments)
    ranges = [each for each in assignments if ".." in each or "|" in each]
    fixed = [each for each in assignments if each not in ranges]
    recipe = load_recipe_from(init_from, names, fixed)
    try:
        space = search.parse(ranges or recipe.space, recipe)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not space:
        raise click.UsageError(
            f"{recipe.name} has no default ranges: add some, like learning_rate=0.1..1"
        )
    folder = output or Path("runs", f"tune-{recipe.name}")
    best = dict(
        search.tune(
            recipe,
            space,
            data,
            folder,
            trials,
            init_from=init_from,
            backbone_weights=weights,
            teacher=teacher,
            cache=cache,
        )
    )
    if as_json:
        click.echo(json.dumps({"folder": str(folder), **best}))
        return
    accuracy = best.pop("validation_accuracy")
    found = " ".join(f"{name}={value}" for name, value in best.items())
    click.echo(f"{accuracy:.2%} on the validation images; all trials: {folder / 'trials.csv'}")
    beginning = [] if init_from is None else [f"--init-from {init_from}"]
    beginning += [] if weights is None else [f"--weights {weights}"]
    click.echo(f"falconet train {' '.join([recipe.name, *beginning, *fixed])} {found}")
