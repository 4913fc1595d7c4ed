"""The recipes: a file for each publication, and one for our own. Each has ``RECIPES``."""

import importlib
import pkgutil

from ..recipe import Recipe
from ..recipe_file import from_json
from ..run import Run


def load_all() -> list[Recipe]:
    """All recipes, sorted by name. Loading registers their networks, as their weights need.

    Raises:
        ValueError: two have the same name.
    """
    found: dict[str, Recipe] = {}
    for file in pkgutil.iter_modules(__path__):
        for recipe in importlib.import_module(f".{file.name}", __name__).RECIPES:
            if recipe.name in found:
                raise ValueError(
                    f"training/recipes/{file.name}.py: there is a recipe {recipe.name!r} already; "
                    "choose another name"
                )
            found[recipe.name] = recipe
    return [found[name] for name in sorted(found)]


def names() -> list[str]:
    """The recipes' names, in alphabetical order."""
    return [recipe.name for recipe in load_all()]


def load(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        ValueError: there is none.
    """
    for recipe in load_all():
        if recipe.name == name:
            return recipe
    raise ValueError(f"unknown recipe {name!r}; there are: {', '.join(names())}")


def begun(run: Run) -> Recipe:
    """The recipe that a run began with.

    Raises:
        FileNotFoundError: its folder holds no run.
        ValueError: the recipe had other fields then.
    """
    name = run.recipe_name()
    return from_json(run.recipe.read_text(), load(name))
