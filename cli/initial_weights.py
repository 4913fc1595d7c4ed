"""--init-from and --weights, for commands that train."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from falconet.training.recipe import Recipe

from .recipe_arguments import load_recipe, single_name


class InitialWeights(click.ParamType):  # type: ignore[type-arg]
    """A file, or the name of a backbone."""

    name = "weights"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path | str:
        from falconet.model.backbone import LIBRARIES, is_backbone

        if Path(value).is_file():
            return Path(value)
        if not is_backbone(str(value)):
            names = " or ".join(f"{each}:NAME" for each in LIBRARIES)
            self.fail(f"expected a file, or {names}, got {value!r}", param, ctx)
        return str(value)


init_from_option = click.option(
    "--init-from",
    type=InitialWeights(),
    metavar="FILE|BACKBONE",
    help="Weights file to start from; layers of another shape are initialized at random. Or a "
    "backbone for the recipe transfer, like torchvision:resnet18 or timm:convnext_atto.  "
    "[default: none]",
)
weights_option = click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="State dict of the backbone (.pth or .safetensors).  [default: the published weights]",
)


def load_recipe_from(
    init_from: Path | str | None, names: Sequence[str], overrides: Sequence[str]
) -> Recipe:
    """The named recipe; with a backbone by default ``transfer``, with the fields for the backbone.

    Raises:
        click.UsageError: there is no such recipe, or a field is wrong.
        ValueError: the recipe trains another network, or there is no such backbone.
    """
    from falconet.training.initial_weights import backbone_fields

    if not isinstance(init_from, str):
        return load_recipe(single_name(names), overrides)
    name = single_name(names or ["transfer"])
    return load_recipe(name, [*backbone_fields(load_recipe(name), init_from), *overrides])
