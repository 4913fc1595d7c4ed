"""falconet reproduce"""

import json
from pathlib import Path

import click

from .data import data_option
from .recipe_arguments import split_assignments


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]... [FIELD=VALUE]...")
@data_option
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of runs of each recipe.",
)
@click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs/reproduce"),
    show_default=True,
    help="Folder of the runs. Finished runs in it are not repeated.",
)
@click.option(
    "--page",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path("docs/training.md"),
    show_default=True,
    help="Markdown page whose table is rewritten, with its plot, a .svg file of the same name.",
)
@click.option("--only-page", is_flag=True, help="Only rewrite the page, from the stored results.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def reproduce(
    names: tuple[str, ...],
    data: Path | str,
    seeds: int,
    runs: Path,
    page: Path,
    only_page: bool,
    as_json: bool,
) -> None:
    """Runs recipes in full, evaluates each on the test set once, and rewrites the page of results.

    \b
    falconet reproduce                            all recipes but transfer
    falconet reproduce elu lenet --seeds 3
    falconet reproduce vgg1 vgg2 vgg3 epochs=10   shorter, as the page then states

    Needs a checkout of the repository. Results for CIFAR-10 are stored in training/measured/;
    results for other data are only printed.
    """
    from dataclasses import asdict

    from falconet.training import recipes, results
    from falconet.training.data import is_cifar10
    from falconet.training.reproduce import reproduce as run

    chosen, overrides = split_assignments(names)
    everything = [recipe.name for recipe in recipes.load_all() if not recipe.transfers]
    published = [recipes.load(name) for name in chosen or everything]
    wanted = []
    for recipe in published:  # all of them before the first run
        try:
            wanted.append(recipe.override(overrides))
        except ValueError as error:
            raise click.UsageError(f"{recipe.name}: {error}") from error
    _rewrite(page)
    found = []
    for recipe, changed in [] if only_page else zip(published, wanted, strict=True):
        result = run(changed, recipe, data, runs, seeds)
        if is_cifar10(data):
            result = result.with_runs_of(results.Result.load(recipe.name, results.FOLDER))
            result.save(results.FOLDER)
            _rewrite(page)
        found.append(asdict(result))
        if not as_json:
            click.echo(f"{recipe.name}: {results.spread(result.accuracies)}")
    if as_json:
        click.echo(json.dumps(found))


def _rewrite(page: Path) -> None:
    """Write the table into the page, and the plot beside it."""
    from falconet.training import recipes, results, verdict
    from falconet.training.plots import accuracy_by_cost

    everything = results.entries(recipes.load_all(), results.FOLDER)
    keras = verdict.keras_spreads(page.parent.parent / "benchmarks" / "results" / "keras.json")
    text = results.table(everything, keras)
    results.replace_between(page, "reproduce", "falconet reproduce", text)
    page.with_suffix(".svg").write_bytes(accuracy_by_cost(everything))
