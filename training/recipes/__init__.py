"""The recipes, one a file. A file here with a ``RECIPE`` in it is a recipe."""

import importlib
import pkgutil

from ..recipe import Recipe


def names() -> list[str]:
    """All recipes, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in names():
        raise ValueError(f"unknown recipe {name!r}; there are: {', '.join(names())}")
    recipe = importlib.import_module(f".{name}", __name__).RECIPE
    assert isinstance(recipe, Recipe)
    return recipe
