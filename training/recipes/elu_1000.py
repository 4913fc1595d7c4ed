"""The ELU network on 1,000 pictures of each class, asked for under Abhijeet Kumar's post."""

from dataclasses import replace

from ..recipe import Reference
from . import elu

RECIPE = replace(
    elu.RECIPE,
    name="elu_1000",
    about="the ELU network on 1,000 pictures of each class",
    reference=Reference(f"{elu.SOURCE}, comments", None, "no figure"),
    per_class=1000,
    hold_out="stratified",
    validation=5000,
)
