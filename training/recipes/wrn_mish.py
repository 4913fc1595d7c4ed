"""Wide ResNet with CutMix, squeeze-and-excite and Mish, after the notebook Deep Learning CA1."""

from dataclasses import replace

from ..recipe import Reference
from . import wrn_se
from .fully_connected import SOURCE

RECIPE = replace(
    wrn_se.RECIPE,
    name="wrn_mish",
    about="Wide ResNet, CutMix, squeeze-and-excite, Mish",
    arguments={"squeeze_excite": True, "mish": True},
    reference=Reference(SOURCE, None, "no better, says the text"),
)
