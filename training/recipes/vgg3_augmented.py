"""Three VGG blocks on turned, moved and mirrored pictures, by TheKermitFrog."""

from dataclasses import replace

from ..augment import Augmentation
from ..recipe import Reference
from . import vgg3

RECIPE = replace(
    vgg3.RECIPE,
    name="vgg3_augmented",
    about="three VGG blocks, augmentation",
    augmentation=Augmentation(rotate=10, shift=0.1, flip="random"),
    reference=Reference(vgg3.SOURCE, 0.8469, "last epoch, test set as validation"),
    epochs=75,
)
