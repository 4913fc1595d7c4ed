"""A TorchScript file."""

import torch

from .model import Model, Wanted, made
from .python import usual


def load(name: str, wanted: Wanted) -> Model:
    """A model, preprocessed as is usual for ImageNet; its spec is there to be changed."""
    if wanted.weights is not None:
        raise ValueError("a TorchScript file has its weights; leave --weights out")
    try:
        network = torch.jit.load(name, map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{name}: expected a TorchScript file: {error}") from None
    return made(network, usual(wanted), None, wanted)
