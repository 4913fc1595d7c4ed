"""Ten convolutions after VGG, with flips and crops, after the notebook Deep Learning CA1."""

from dataclasses import replace

from ..augment import Augmentation
from ..recipe import Reference
from . import vgg10
from .fully_connected import SOURCE

RECIPE = replace(
    vgg10.RECIPE,
    name="vgg10_augmented",
    about="ten convolutions after VGG, augmentation",
    reference=Reference(SOURCE, None, "better, says the text"),
    assumed=(*vgg10.RECIPE.assumed, "crops moved by up to 4 pixels, edges reflected"),
    augmentation=Augmentation(flip="random", translate=4),
)
