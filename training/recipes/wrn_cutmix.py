"""Wide ResNet with flips, crops and CutMix, after the notebook Deep Learning CA1."""

from dataclasses import replace

from ..augment import Augmentation
from ..recipe import Reference
from . import wrn
from .fully_connected import SOURCE

RECIPE = replace(
    wrn.RECIPE,
    name="wrn_cutmix",
    about="Wide ResNet, CutMix",
    reference=Reference(SOURCE, 0.93, "as without it, stopped at 100 epochs"),
    assumed=(
        *wrn.RECIPE.assumed[:-1],
        "crops moved by up to 4 pixels, edges reflected",
        "one box a batch, where the Keras example that was adapted has one a picture",
    ),
    augmentation=Augmentation(flip="random", translate=4, cutmix=0.25),
    epochs=100,
)
