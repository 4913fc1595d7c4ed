"""The file ``recipe.json`` of a run."""

import json

from .recipe import Recipe


def from_json(text: str, recipe: Recipe) -> Recipe:
    """Read the text that :meth:`Recipe.to_json` wrote.

    A field that the text lacks was added since then, and gets its default value. Defaults of new
    fields do what training did without the field.

    Args:
        text: of the file.
        recipe: the recipe of the same name, for everything that is not in the text.

    Raises:
        ValueError: the text has fields that no longer exist.
    """
    content = json.loads(text)
    del content["recipe"], content["network"]
    known = recipe.choices()
    if content.keys() - known.keys():
        raise ValueError(
            f"the recipe {recipe.name} had other fields when this was written: "
            f"{', '.join(sorted(content.keys() ^ known.keys()))}"
        )
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    plain = Recipe(
        recipe.name,
        recipe.about,
        recipe.network,
        optimizer=type(recipe.optimizer)(),
        schedule=type(recipe.schedule)(),
    )
    defaults = {name: value for name, (_, value) in plain.choices().items()}
    return recipe.with_choices({**defaults, **values})
