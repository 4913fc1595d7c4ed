"""LeNet for color pictures, from a comment under Abhijeet Kumar's post.

The comment normalizes when it predicts but not when it trains; here both go by one spec.
"""

from typing import cast

from torch import Tensor, nn

from falconet.model.registry import register

from .. import keras
from ..optimizer import SGD
from ..recipe import Recipe, Reference
from ..schedule import Steps
from .elu import SOURCE


@register
class LeNet(nn.Module):
    """Three 5x5 convolutions and a linear hidden layer of 84."""

    def __init__(self, classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        height, width = (((side // 2 - 4) // 2) - 4 for side in size)
        if height < 1 or width < 1:
            raise ValueError(f"expected pictures of at least 28x28, got {size[0]}x{size[1]}")
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 120, 5), nn.ReLU(), nn.Flatten()),
            *(nn.Linear(120 * height * width, 84), nn.Linear(84, classes)),
        )
        keras.initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.layers(x))


RECIPE = Recipe(
    name="lenet",
    about="LeNet, two epochs",
    network=LeNet,
    reference=Reference(f"{SOURCE}, comment 4", None, "no figure"),
    normalization="no",
    hold_out="test",
    validation=0,
    epochs=2,
    batch_size=128,
    optimizer=SGD(learning_rate=0.01, momentum=0.0),
    schedule=Steps(),
)
