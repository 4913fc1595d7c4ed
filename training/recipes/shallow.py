"""The shallow network that reached 76 %, by Abhijeet Kumar, from his earlier post."""

from typing import cast

import torch
from torch import Tensor, nn

from falconet.model.registry import register

from .. import keras
from ..optimizer import SGD
from ..recipe import Recipe, Reference
from ..schedule import Steps
from .elu import SOURCE


class MaxNormLinear(nn.Linear):
    """A layer whose outputs' weights have a norm of at most ``limit``, mended before each use."""

    limit = 3.0

    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.weight.copy_(self.weight.renorm(2, 0, self.limit))
        return super().forward(input)


@register
class Shallow(nn.Module):
    """Three convolutions and a hidden layer of 512 with limited norms."""

    def __init__(self, classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Dropout(0.2)),
            *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(0.2)),
            *(MaxNormLinear(64 * (size[0] // 4) * (size[1] // 4), 512), nn.ReLU()),
            *(nn.Dropout(0.2), nn.Linear(512, classes)),
        )
        keras.initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.layers(x))


RECIPE = Recipe(
    name="shallow",
    about="three convolutions and 512 hidden units",
    network=Shallow,
    reference=Reference(SOURCE, 0.76, "last epoch, a tenth held out"),
    normalization="no",
    hold_out="random",
    validation=5000,
    epochs=25,
    batch_size=32,
    optimizer=SGD(learning_rate=0.01),
    schedule=Steps(decay=0.01 / 25),
)
