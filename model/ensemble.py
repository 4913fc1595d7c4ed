"""Several networks that answer as one."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .folding import fold
from .registry import NETWORKS, register


@register
class Ensemble(nn.Module):
    """The mean of the predictions of networks of one kind; costs as much as all of them.

    Input as theirs; output ``(N, classes)`` logarithms of the mean probabilities, as logits.

    Args:
        member: name of the networks' class.
        arguments: what it is called with.
        count: how many there are.
    """

    def __init__(self, member: str, arguments: Mapping[str, Any], count: int) -> None:
        super().__init__()
        if member not in NETWORKS:
            raise ValueError(f"expected one of the networks {sorted(NETWORKS)}, got {member!r}")
        self.members = nn.ModuleList(NETWORKS[member](**arguments) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        probabilities = torch.stack([member(x).float().softmax(1) for member in self.members])
        return probabilities.mean(0).clamp_min(1e-12).log()

    def load_members(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Fill each network with its weights."""
        for member, state in zip(self.members, states, strict=True):
            member.load_state_dict(state)

    def folded(self) -> "Ensemble":
        """A copy for inference."""
        ensemble = copy.copy(self)
        ensemble._modules = {"members": nn.ModuleList(map(fold, self.members))}
        return ensemble.eval()
