"""Fully connected baseline, after the notebook Deep Learning CA1, whose code is lost."""

from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from falconet.model.registry import register

from ..optimizer import SGD
from ..recipe import Recipe, Reference
from ..schedule import CosineRestarts

SOURCE = "Deep Learning CA1: CIFAR-10 (notebook)"


@register
class FullyConnected(nn.Module):
    """Hidden layers with ReLU on the pixels."""

    def __init__(
        self, classes: int, size: tuple[int, int], hidden: tuple[int, ...] = (512, 256)
    ) -> None:
        super().__init__()
        features = [3 * size[0] * size[1], *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for wide, narrow in pairwise(features):
            layers += [nn.Linear(wide, narrow), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(features[-1], classes))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.layers(x))


# What the notebook's loop leaves open.
LOOP = (
    "which 10,000 are held out, and that the best epoch on them is kept",
    "momentum of 0.9; cycles of 10, 20, 40 and 80 epochs",
)

RECIPE = Recipe(
    name="fully_connected",
    about="fully connected baseline",
    network=FullyConnected,
    reference=Reference(SOURCE, None, "poor, says the text"),
    assumed=(
        "two hidden layers of 512 and 256",
        *LOOP,
        "batch of 128, rate of 0.05, 30 epochs",
        "patience of 20",
    ),
    hold_out="random",
    validation=10000,
    keep="best",
    patience=20,
    epochs=30,
    batch_size=128,
    optimizer=SGD(learning_rate=0.05),
    schedule=CosineRestarts(),
    seed=42,
)
