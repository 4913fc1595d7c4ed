"""Wide ResNet whose hyper-parameters are to be searched, after the notebook Deep Learning CA1.

The notebook speaks of a tuned model, and lost the section about it. The values are those of wrn_se,
from which `falconet tune wrn_tuned` searches.
"""

from dataclasses import replace

from ..recipe import Reference
from . import wrn_se
from .fully_connected import SOURCE

RECIPE = replace(
    wrn_se.RECIPE,
    name="wrn_tuned",
    about="Wide ResNet to be searched by falconet tune",
    reference=Reference(SOURCE, None, "no figure"),
    assumed=(*wrn_se.RECIPE.assumed, "what is searched"),
    space=(
        "learning_rate=0.02..0.3",
        "weight_decay=1e-4..2e-3",
        "dropout=0.0..0.5",
        "label_smoothing=0.0..0.2",
    ),
)
