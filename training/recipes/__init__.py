"""The recipes, one a file. A file here with a ``RECIPE`` in it is a recipe."""

import importlib
import pkgutil

from ..recipe import Recipe, from_json
from ..run import Run


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
    assert recipe.name == name, f"{name}.py holds a recipe named {recipe.name}"
    return recipe


def begun(run: Run) -> Recipe:
    """The recipe that a run began with.

    Raises:
        FileNotFoundError: its folder holds no run.
        ValueError: the recipe had other fields then.
    """
    name = run.recipe_name()
    return from_json(run.recipe.read_text(), load(name))


def load_all() -> list[Recipe]:
    """Every recipe; their networks are then registered, and weights of them can be loaded."""
    return [load(name) for name in names()]
