"""Baseline of two VGG blocks, by TheKermitFrog."""

from dataclasses import replace

from ..recipe import Reference
from . import vgg3

RECIPE = replace(
    vgg3.RECIPE,
    name="vgg2",
    about="baseline of two VGG blocks",
    arguments={"widths": (32, 64)},
    reference=Reference(vgg3.SOURCE, 0.70, "around that, says the text; test set as validation"),
)
