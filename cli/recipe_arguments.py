"""Arguments of a command line that name a recipe and set its fields."""

from collections.abc import Iterable, Sequence

import click

from falconet.training.recipe import Recipe


def split_assignments(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """The names among arguments, and the assignments FIELD=VALUE, which may be in any order."""
    arguments = list(arguments)
    return [a for a in arguments if "=" not in a], [a for a in arguments if "=" in a]


def single_name(names: Sequence[str]) -> str:
    """The name, if it is exactly one.

    Raises:
        click.UsageError: there is none, or more than one.
    """
    if len(names) != 1:
        raise click.UsageError(f"expected one RECIPE, got {' and '.join(names) or 'none'}")
    return names[0]


def load_recipe(name: str, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of this name, with some fields replaced by ``FIELD=VALUE``.

    Raises:
        click.UsageError: there is no such recipe, or a field is wrong.
    """
    from falconet.training import recipes

    try:
        return recipes.load(name).override(overrides)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
