"""Defaults of Keras' layers that differ from PyTorch's, for publications that used Keras.

``python -m benchmarks.keras`` compares them with Keras itself. Four differences remain. After a
change of the learning rate, Keras' SGD keeps the steps in its momentum, while PyTorch's scales them
by the new rate. Keras' Adam adds its epsilon before it corrects the second moment, PyTorch's after
it, so that Keras' epsilon counts for more in the first thousand steps. The running variance of
Keras 3 is biased, that of PyTorch is not. With augmentation, Keras starts an epoch with the images
that did not fill a batch in the previous epoch, while here they are dropped.
"""

from torch import nn

EPSILON = 1e-7  # of optimizers
NORM_EPS, NORM_MOMENTUM = 1e-3, 0.01  # of batch norms; Keras calls the latter a momentum of 0.99


def initialize(network: nn.Module) -> None:
    """Glorot-uniform matrices and filters, biases of zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def norm2d(channels: int) -> nn.BatchNorm2d:
    """Batch norm of images, ``(N, channels, height, width)``."""
    return nn.BatchNorm2d(channels, NORM_EPS, NORM_MOMENTUM)


def norm1d(features: int) -> nn.BatchNorm1d:
    """Batch norm of ``(N, features)``."""
    return nn.BatchNorm1d(features, NORM_EPS, NORM_MOMENTUM)
