"""A copy of a network for inference, with less to compute."""

import copy

from torch import nn


def fold(network: nn.Module) -> nn.Module:
    """The network's own ``folded()`` where it has one, a copy in evaluation mode elsewhere.

    Only a batch norm right after a convolution folds, and TorchScript's freezing does that by
    itself; a network that puts something in between has to know how.
    """
    own = getattr(network, "folded", None)
    if own is None:
        return copy.deepcopy(network).eval()
    folded = own()
    assert isinstance(folded, nn.Module)
    return folded
