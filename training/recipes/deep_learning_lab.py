"""Three convolutions and a hidden layer, by fk., Deep Learning Lab, Episode 2 (Medium).

A fifth of the training set is held out. The source does not say whether its 150 and 200 epochs were
separate runs. The rate is constant, so here one run is evaluated at the three lengths.
"""

from torch import Tensor, nn

from falconet.model.registry import register

from .. import keras
from ..optimizer import SGD
from ..recipe import Recipe, Reference
from ..schedule import Steps


@register
class Episode2(nn.Module):
    """Three convolutions, each with ReLU, pool and dropout, and a hidden layer of 80."""

    def __init__(self, classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, dropout in ((32, 0.3), (64, 0.3), (128, 0.4)):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            layers += [nn.MaxPool2d(2), nn.Dropout(dropout)]
            channels = width
        layers += [nn.Flatten(), nn.Linear(channels * (size[0] // 8) * (size[1] // 8), 80)]
        layers += [nn.ReLU(), nn.Dropout(0.3), nn.Linear(80, classes)]
        self.layers = nn.Sequential(*layers)
        keras.initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


RECIPES = tuple(
    Recipe(
        name=f"episode2_{epochs}",
        about=f"three convolutions, SGD, {epochs} epochs",
        network=Episode2,
        reference=Reference(
            "fk., Deep Learning Lab, Episode 2 (Medium)",
            accuracy,
            "last epoch, test set looked at after three lengths",
        ),
        assumed=(
            "which fifth is held out: a random one; the source takes the last images of CIFAR-10's "
            "files, whose order is random",
            "the three figures are of one run",
        ),
        normalization="no",
        hold_out="random",
        validation=10000,
        epochs=epochs,
        batch_size=64,
        optimizer=SGD(learning_rate=0.01),
        schedule=Steps(),
        after=after,
    )
    for epochs, accuracy, after in (
        (100, 0.7737, ""),
        (150, 0.7822, "episode2_100"),
        (200, 0.7777, "episode2_150"),
    )
)
