"""Ten convolutions after VGG, without augmentation, after the notebook Deep Learning CA1.

The notebook took its VGG from Dive into Deep Learning, made it smaller, and lost the details.
"""

from dataclasses import replace

from torch import Tensor, nn

from falconet.model.registry import register

from ..optimizer import SGD
from ..recipe import Reference
from . import fully_connected
from .fully_connected import LOOP, SOURCE


@register
class Vgg10(nn.Module):
    """Blocks of two convolutions, each with batch norm and ReLU, and a pool; global mean."""

    def __init__(self, classes: int, widths: tuple[int, ...] = (32, 64, 128, 256, 256)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in widths:
            for _ in range(2):
                layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
                layers += [nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers += [nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


RECIPE = replace(
    fully_connected.RECIPE,
    name="vgg10",
    about="ten convolutions after VGG",
    network=Vgg10,
    reference=Reference(SOURCE, None, "overfits, says the text"),
    assumed=(
        "widths of 32, 64, 128, 256, 256 with batch norm and global mean",
        *LOOP,
        "batch of 128, rate of 0.1, decay of 5e-4, 70 epochs, patience of 40",
    ),
    patience=40,
    epochs=70,
    optimizer=SGD(learning_rate=0.1, weight_decay=5e-4),
)
