"""Three VGG blocks with a batch norm after each convolution's ReLU, by TheKermitFrog."""

from dataclasses import replace

from ..recipe import Reference
from . import vgg3

RECIPE = replace(
    vgg3.RECIPE,
    name="vgg3_batch_norm",
    about="three VGG blocks, batch norm",
    arguments={"batch_norm": True},
    reference=Reference(vgg3.SOURCE, 0.8237, "last epoch, test set as validation"),
)
