"""Baseline of three VGG blocks (arXiv:1409.1556), and the network of all its variants.

Published by TheKermitFrog, cifar10-CNN: two 3x3 convolutions and a pool a block, two hidden layers.
It overfits, which the variants try to mend: vgg3_batch_norm, vgg3_l2, vgg3_dropout, vgg3_augmented.
"""

from torch import Tensor, nn

from falconet.model.registry import register

from .. import keras
from ..optimizer import Adam
from ..recipe import Recipe, Reference
from ..schedule import Steps

SOURCE = "TheKermitFrog, cifar10-CNN (GitHub)"


@register
class Vgg(nn.Module):
    """Blocks of two convolutions and a pool, then hidden layers; a norm comes after its ReLU.

    Args:
        classes: outputs.
        size: ``(height, width)`` of the pictures.
        widths: channels of each block.
        hidden: sizes of the hidden layers.
        batch_norm: whether a batch norm follows each convolution.
        dropout: after each block.
        hidden_norm: whether a batch norm follows each hidden layer.
        hidden_dropout: after each hidden layer.
    """

    def __init__(
        self,
        classes: int,
        size: tuple[int, int],
        widths: tuple[int, ...] = (32, 64, 128),
        hidden: tuple[int, ...] = (256, 256),
        batch_norm: bool = False,
        dropout: tuple[float, ...] = (),
        hidden_norm: bool = False,
        hidden_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dropout and len(dropout) != len(widths):
            raise ValueError(f"expected a dropout for each of {widths}, or none, got {dropout}")
        layers: list[nn.Module] = []
        channels = 3
        for block, width in enumerate(widths):
            for _ in range(2):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                layers += [keras.norm2d(width)] if batch_norm else []
                channels = width
            layers += [nn.MaxPool2d(2)]
            layers += [nn.Dropout(dropout[block])] if dropout else []
        layers += [nn.Flatten()]
        features = channels * (size[0] >> len(widths)) * (size[1] >> len(widths))
        for width in hidden:
            layers += [nn.Linear(features, width), nn.ReLU()]
            layers += [keras.norm1d(width)] if hidden_norm else []
            layers += [nn.Dropout(hidden_dropout)] if hidden_dropout else []
            features = width
        self.layers = nn.Sequential(*layers, nn.Linear(features, classes))
        keras.initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


RECIPE = Recipe(
    name="vgg3",
    about="baseline of three VGG blocks",
    network=Vgg,
    reference=Reference(
        SOURCE, 0.76, "last epoch, test set as validation; read off a plot, the text says 70 %"
    ),
    normalization="no",
    hold_out="test",
    validation=0,
    epochs=100,
    batch_size=64,
    optimizer=Adam(),
    schedule=Steps(),
)
