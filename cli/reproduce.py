"""falconet reproduce"""

import json
from pathlib import Path

import click

from .data import data_option
from .train import separate


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]... [FIELD=VALUE]...")
@data_option
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Runs of each.")
@click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs/reproduce"),
    show_default=True,
    help="Folder of the runs. What is finished there is not run again.",
)
@click.option(
    "--page",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path("docs/training.md"),
    show_default=True,
    help="The page whose table is rewritten.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def reproduce(
    names: tuple[str, ...], data: Path | str, seeds: int, runs: Path, page: Path, as_json: bool
) -> None:
    """Run recipes in full, look at the test set once for each, and rewrite the page of results.

    Without a NAME, all of them. A FIELD=VALUE, like epochs=10, goes for each, and is noted.
    """
    from dataclasses import asdict

    from falconet.training import recipes, results
    from falconet.training.reproduce import reproduce as run

    chosen, overrides = separate(names)
    found = []
    for recipe in [recipes.load(name) for name in chosen or recipes.names()]:
        result = run(recipe.override(overrides), recipe, data, runs, seeds)
        result.save(results.FOLDER)
        found.append(asdict(result))
        everything = recipes.load_all()
        table = results.table(everything, results.FOLDER)
        results.replace_between(page, "reproduce", "falconet reproduce", table)
        if not as_json:
            click.echo(f"{recipe.name}: {results.spread(result.accuracies)}")
    if as_json:
        click.echo(json.dumps(found))
