"""The notebook Deep Learning CA1: CIFAR-10: from a fully connected network to an ensemble.

Its code is lost, and the text does not give all numbers: what is filled in is listed as assumed.
"""

from dataclasses import replace
from itertools import pairwise
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from falconet.model.registry import register

from ..augment import Augmentation
from ..optimizer import SGD
from ..recipe import Recipe, Reference
from ..schedule import CosineRestarts


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


class SqueezeExcite(nn.Module):
    """Weighs channels by what the whole image has in them (arXiv:1709.01507)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.excite(F.relu(self.squeeze(x.mean((2, 3))))).sigmoid()
        out: Tensor = x * weights[:, :, None, None]
        return out


class WideBlock(nn.Module):
    """Norm, activation and convolution, twice, dropout in between, and a shortcut."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        stride: int,
        dropout: float,
        *,
        excite: bool,
        act: nn.Module,
    ) -> None:
        super().__init__()
        self.act = act
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.excite = SqueezeExcite(channels) if excite else nn.Identity()
        same = channels_in == channels and stride == 1
        self.shortcut = None if same else nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        y = self.dropout(self.act(self.norm2(self.conv1(y))))
        out: Tensor = shortcut + self.excite(self.conv2(y))
        return out


@register
class WideResNet(nn.Module):
    """Three groups of blocks, each at half the resolution of the one before.

    Args:
        classes: outputs.
        depth: layers, 6 n + 4.
        width: multiple of 16, 32 and 64 channels.
        dropout: between the convolutions of a block.
        squeeze_excite: whether channels are weighed at the end of a block.
        mish: Mish (arXiv:1908.08681) in place of ReLU.
    """

    def __init__(
        self,
        classes: int,
        depth: int = 16,
        width: int = 8,
        dropout: float = 0.3,
        squeeze_excite: bool = False,
        mish: bool = False,
    ) -> None:
        super().__init__()
        if (depth - 4) % 6:
            raise ValueError(f"expected a depth of 6 n + 4, like 16 or 28, got {depth}")
        act = nn.Mish() if mish else nn.ReLU()
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False)]
        channels = 16
        for group in range(3):
            for block in range((depth - 4) // 6):
                stride = 2 if group and not block else 1
                wide = 16 * 2**group * width
                layers += [
                    WideBlock(channels, wide, stride, dropout, excite=squeeze_excite, act=act)
                ]
                channels = wide
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(channels), act)
        self.head = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


def published(accuracy: float | None, protocol: str) -> Reference:
    return Reference("Deep Learning CA1: CIFAR-10 (notebook)", accuracy, protocol)


# What the notebook's loop leaves open.
LOOP = (
    "which 10,000 are held out, and that the best epoch on them is kept",
    "momentum of 0.9; cycles of 10, 20, 40 and 80 epochs",
)
MOVED = "crops moved by up to 4 pixels, edges reflected"

FULLY_CONNECTED = Recipe(
    name="fully_connected",
    about="fully connected baseline",
    network=FullyConnected,
    reference=published(None, "poor, says the text"),
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

# The notebook took its VGG from Dive into Deep Learning, made it smaller, and lost the details.
VGG10 = replace(
    FULLY_CONNECTED,
    name="vgg10",
    about="ten convolutions after VGG",
    network=Vgg10,
    reference=published(None, "overfits, says the text"),
    assumed=(
        "widths of 32, 64, 128, 256, 256 with batch norm and global mean",
        *LOOP,
        "batch of 128, rate of 0.1, decay of 5e-4, 70 epochs, patience of 40",
    ),
    optimizer=SGD(learning_rate=0.1, weight_decay=5e-4),
    patience=40,
    epochs=70,
)

VGG10_AUGMENTED = replace(
    VGG10,
    name="vgg10_augmented",
    about="ten convolutions after VGG, augmentation",
    reference=published(None, "better, says the text"),
    assumed=(*VGG10.assumed, MOVED),
    augmentation=Augmentation(flip="random", translate=4),
)

# The notebook does not say how deep and wide: 16 layers and width 8 are assumed, at a third of the
# cost of the paper's best, `depth=28 width=10`.
WRN_ASSUMED = (
    "16 layers, width 8, dropout of 0.3",
    *LOOP,
    "batch of 128, rate of 0.1, Nesterov, decay of 5e-4, patience of 40",
)
WRN = replace(
    VGG10,
    name="wrn",
    about="Wide ResNet",
    network=WideResNet,
    reference=published(0.93, "best epoch on 10,000 held out, in less than 60 epochs"),
    assumed=(*WRN_ASSUMED, "70 epochs"),
    optimizer=SGD(nesterov=True, weight_decay=5e-4),
)

WRN_CUTMIX = replace(
    WRN,
    name="wrn_cutmix",
    about="Wide ResNet, CutMix",
    reference=published(0.93, "as without it, stopped at 100 epochs"),
    assumed=(
        *WRN_ASSUMED,
        MOVED,
        "one box a batch, where the Keras example that was adapted has one an image",
    ),
    augmentation=Augmentation(flip="random", translate=4, cutmix=0.25),
    epochs=100,
)

WRN_SE = replace(
    WRN_CUTMIX,
    name="wrn_se",
    about="Wide ResNet, CutMix, squeeze-and-excite",
    reference=published(0.946, "best epoch on 10,000 held out"),
    assumed=(*WRN_CUTMIX.assumed, "150 epochs", "at the end of each block, reduced by 16"),
    arguments={"squeeze_excite": True},
    epochs=150,
)

WRN_MISH = replace(
    WRN_SE,
    name="wrn_mish",
    about="Wide ResNet, CutMix, squeeze-and-excite, Mish",
    reference=published(None, "no better, says the text"),
    arguments={"squeeze_excite": True, "mish": True},
)

# The notebook speaks of a tuned model, and lost the section about it. The values are those of
# wrn_se, from which `falconet tune wrn_tuned` searches.
WRN_TUNED = replace(
    WRN_SE,
    name="wrn_tuned",
    about="Wide ResNet to be searched by falconet tune",
    reference=published(None, "no figure"),
    assumed=(*WRN_SE.assumed, "what is searched"),
    space=(
        "learning_rate=0.02..0.3",
        "weight_decay=1e-4..2e-3",
        "dropout=0.0..0.5",
        "label_smoothing=0.0..0.2",
    ),
)

# Snapshot ensemble (arXiv:1704.00109): the mean of the predictions of the networks before each warm
# restart, after 30, 70 and 150 epochs. It costs three times as much to serve.
SNAPSHOTS = replace(
    WRN_TUNED,
    name="snapshots",
    about="ensemble of three snapshots of a Wide ResNet",
    reference=published(0.95, "mean of three, on 10,000 held out"),
    space=(),
    keep="last",
    patience=0,
    snapshots=3,
)

RECIPES = (
    FULLY_CONNECTED,
    VGG10,
    VGG10_AUGMENTED,
    WRN,
    WRN_CUTMIX,
    WRN_SE,
    WRN_MISH,
    WRN_TUNED,
    SNAPSHOTS,
)
