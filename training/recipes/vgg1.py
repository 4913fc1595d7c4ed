"""Baseline of one VGG block, by TheKermitFrog."""

from dataclasses import replace

from ..recipe import Reference
from . import vgg3

RECIPE = replace(
    vgg3.RECIPE,
    name="vgg1",
    about="baseline of one VGG block",
    arguments={"widths": (32,)},
    reference=Reference(vgg3.SOURCE, 0.6659, "last epoch, test set as validation"),
)
