"""Defaults of Keras that differ from PyTorch's, for experiments that were made with it."""

from torch import nn


def initialize(network: nn.Module) -> None:
    """Glorot-uniform matrices and filters, biases of zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def norm2d(channels: int) -> nn.BatchNorm2d:
    """Batch norm of images, ``(N, channels, height, width)``."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def norm1d(features: int) -> nn.BatchNorm1d:
    """Batch norm of ``(N, features)``."""
    return nn.BatchNorm1d(features, eps=1e-3, momentum=0.01)
