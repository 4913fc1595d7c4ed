"""The ELU network on 1,000 pictures of each class, asked for under Abhijeet Kumar's post."""

from dataclasses import replace

from ..recipe import Reference
from . import elu

RECIPE = replace(
    elu.RECIPE,
    name="elu_1000",
    about="the ELU network on 1,000 pictures of each class",
    reference=Reference(f"{elu.SOURCE}, comments", None, "no figure"),
    assumed=("5,000 of the other pictures held out, by which nothing is chosen",),
    per_class=1000,
    hold_out="stratified",
    validation=5000,
)
