"""Snapshot ensemble (arXiv:1704.00109) of a Wide ResNet, after the notebook Deep Learning CA1.

The mean of the predictions of the networks before each warm restart: 30, 70 and 150 epochs. It
costs three times as much to serve.
"""

from dataclasses import replace

from ..recipe import Reference
from . import wrn_tuned
from .fully_connected import SOURCE

RECIPE = replace(
    wrn_tuned.RECIPE,
    name="snapshots",
    about="ensemble of three snapshots of a Wide ResNet",
    reference=Reference(SOURCE, 0.95, "mean of three, on 10,000 held out"),
    space=(),
    keep="last",
    patience=0,
    snapshots=3,
)
