"""A TorchScript file."""

import warnings

import torch

from .model import ImportOptions, Model, made
from .python import usual


def load(name: str, wanted: ImportOptions) -> Model:
    """A model, preprocessed as is usual for ImageNet; its spec is there to be changed."""
    if wanted.weights is not None:
        raise ValueError("a TorchScript file has its weights; leave --weights out")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, and the format that TorchServe loads
            network = torch.jit.load(name, map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{name}: expected a TorchScript file; a state dict goes to --weights beside a SOURCE "
            f"like torchvision:NAME, timm:NAME or python:MODULE:FUNCTION ({error})"
        ) from None
    return made(network, usual(wanted), None, wanted)
