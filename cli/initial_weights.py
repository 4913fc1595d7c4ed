"""--init-from and --weights, for commands that train."""

from pathlib import Path
from typing import Any

import click


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
