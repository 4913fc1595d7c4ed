"""Wide ResNet with CutMix and squeeze-and-excite, after the notebook Deep Learning CA1."""

from dataclasses import replace

from ..recipe import Reference
from . import wrn_cutmix
from .fully_connected import SOURCE

RECIPE = replace(
    wrn_cutmix.RECIPE,
    name="wrn_se",
    about="Wide ResNet, CutMix, squeeze-and-excite",
    arguments={"squeeze_excite": True},
    reference=Reference(SOURCE, 0.946, "best epoch on 10,000 held out"),
    assumed=(*wrn_cutmix.RECIPE.assumed, "150 epochs", "at the end of each block, reduced by 16"),
    epochs=150,
)
