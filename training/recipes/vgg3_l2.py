"""Three VGG blocks with L2 of 1e-4 on the filters, by TheKermitFrog."""

from dataclasses import replace

from ..optimizer import Adam
from ..recipe import Reference
from . import vgg3

RECIPE = replace(
    vgg3.RECIPE,
    name="vgg3_l2",
    about="three VGG blocks, L2 on the filters",
    optimizer=Adam(weight_decay=2e-4, decayed="convolutions"),
    reference=Reference(vgg3.SOURCE, 0.7556, "last epoch, test set as validation"),
)
