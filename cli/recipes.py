"""falconet recipes, falconet show"""

import json
import statistics
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from falconet.training import results
from falconet.training.recipe import Recipe

from .recipe_arguments import load_recipe


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the recipes as JSON.")
def recipes(as_json: bool) -> None:
    """Lists the recipes, with their published accuracy and the accuracy measured here.

    The accuracy here is top-1 on the test set, from one view of each image. `falconet show` names
    the images of a published accuracy.
    """
    from falconet.training import recipes as all_recipes

    rows = [_row(recipe) for recipe in all_recipes.load_all()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("recipe", "about", "source"):
        table.add_column(name, overflow="fold")
    for name in ("parameters", "multiply-adds", "epochs", "published", "here"):
        table.add_column(name, justify="right")
    for row in rows:
        here = "not run in full"
        if row["accuracy"] is not None:
            here = f"{row['accuracy']:.2%}"
            if row["changed"]:
                here += f" ({_words(row['changed'])})"
        table.add_row(
            row["name"],
            row["about"],
            row["source"] or "Falconet",
            f"{row['parameters']:,}",
            f"{row['multiply_adds'] / 1e6:.1f} M",
            str(row["epochs"]),
            f"{row['reference_accuracy']:.2%}" if row["reference_accuracy"] else "",
            here,
        )
    Console().print(table)


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the fields as JSON.")
def show(name: str, as_json: bool) -> None:
    """Shows a recipe: its fields, its published accuracy, and the assumptions."""
    recipe = load_recipe(name)
    row = _row(recipe)
    if as_json:
        click.echo(json.dumps({**row, "fields": json.loads(recipe.to_json())}, indent=2))
        return
    console = Console(highlight=False)
    console.print(f"[bold]{name}[/bold]: {recipe.about}")
    console.print(
        f"{recipe.network.__name__}, {row['parameters']:,} parameters, "
        f"{row['multiply_adds']:,} multiply-adds an image"
    )
    if recipe.reference is not None:
        figure = row["reference_accuracy"]
        published = "no figure" if figure is None else f"{figure:.2%}"
        console.print(f"published: {published}; {recipe.reference.protocol} ({row['source']})")
    if row["accuracy"] is not None:
        console.print(
            f"here: {row['accuracy']:.2%}, {row['protocol']}; n = {row['runs']}, "
            f"{row['epochs_run']} epochs"
            + (f"; with {_words(row['changed'])}" if row["changed"] else "")
        )
    for assumption in recipe.assumed:
        console.print(f"assumed: {assumption}")
    table = Table(box=None, show_header=False, pad_edge=False)
    for field, (_, value) in recipe.choices().items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        table.add_row(field, text)
    console.print(table)


def _words(changed: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in changed.items())


def _row(recipe: Recipe) -> dict[str, Any]:
    """A recipe and its results, as plain values."""
    ((_, cost, result),) = results.entries([recipe], results.FOLDER)
    reference = recipe.reference
    return {
        "name": recipe.name,
        "about": recipe.about,
        "source": None if reference is None else reference.source,
        "network": recipe.network.__name__,
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
        "epochs": recipe.epochs,
        "reference_accuracy": None if reference is None else reference.accuracy,
        "reference_protocol": None if reference is None else reference.protocol,
        "assumed": list(recipe.assumed),
        "accuracy": None if result is None else statistics.mean(result.accuracies),
        "accuracies": [] if result is None else result.accuracies,
        "runs": 0 if result is None else len(result.runs),
        "epochs_run": None if result is None else result.epochs,
        "changed": {} if result is None else result.changed,
        "protocol": recipe.protocol,
    }
