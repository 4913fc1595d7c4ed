"""Words of a command line that name a recipe and set its fields."""

from collections.abc import Iterable, Sequence

import click

from falconet.training.recipe import Recipe


def separate(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names and FIELD=VALUE assignments, which may come in any order."""
    words = list(words)
    return [word for word in words if "=" not in word], [word for word in words if "=" in word]


def only(names: Sequence[str]) -> str:
    """The one recipe that is named.

    Raises:
        click.UsageError: there is none, or are several.
    """
    if len(names) != 1:
        raise click.UsageError(f"expected one RECIPE, got {' and '.join(names) or 'none'}")
    return names[0]


def load(name: str, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of this name, some of its fields replaced.

    Raises:
        click.UsageError: there is none, or a field is wrong.
    """
    from falconet.training import recipes

    try:
        return recipes.load(name).override(overrides)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
