"""The final VGG for 250 epochs at a lower rate, by TheKermitFrog."""

from dataclasses import replace

from ..optimizer import Adam
from ..recipe import Reference
from . import vgg3, vgg3_final_normalized

RECIPE = replace(
    vgg3_final_normalized.RECIPE,
    name="vgg3_final_250",
    about="the final VGG, 250 epochs",
    optimizer=Adam(learning_rate=3e-4, weight_decay=2e-4, decayed="hidden"),
    reference=Reference(
        vgg3.SOURCE, 0.889, "last epoch, test set as validation; the best on it had 90.14 %"
    ),
    assumed=(),
    epochs=250,
)
