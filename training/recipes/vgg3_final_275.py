"""The final VGG for 250 epochs, and 25 more at a third of the rate, by TheKermitFrog.

Their published model. In one run here; there, the optimizer began afresh for the last 25, which
`falconet train vgg3_final_250 --init-from RUN/weights.pt epochs=25 learning_rate=1e-4` does too.
"""

from dataclasses import replace

from ..recipe import Reference
from ..schedule import Steps
from . import vgg3, vgg3_final_250

RECIPE = replace(
    vgg3_final_250.RECIPE,
    name="vgg3_final_275",
    about="the final VGG, 250 epochs and 25 at a lower rate",
    schedule=Steps(drops=(250,), multiples=(1 / 3,)),
    reference=Reference(
        vgg3.SOURCE, 0.9087, "last and best of 25 epochs from 89.69 % up, test set as validation"
    ),
    epochs=275,
)
