"""Three VGG blocks with dropout after each pool, by TheKermitFrog."""

from dataclasses import replace

from ..recipe import Reference
from . import vgg3

RECIPE = replace(
    vgg3.RECIPE,
    name="vgg3_dropout",
    about="three VGG blocks, dropout",
    arguments={"dropout": (0.2, 0.2, 0.2)},
    reference=Reference(vgg3.SOURCE, 0.7904, "last epoch, test set as validation"),
)
