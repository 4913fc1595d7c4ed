"""The notebook Deep Learning CA1: CIFAR-10: from a fully connected network to an ensemble.

Only its text is available, not its code. Each recipe lists as assumed what the text does not say.
The notebook used Keras; the recipes set the defaults of Keras' layers. Networks built without these
arguments have PyTorch's batch norm defaults, as before the recipes set them.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from falconet.model.registry import register

from .. import keras
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
        keras.initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.layers(x))


@register
class Vgg10(nn.Module):
    """Blocks of two convolutions, each with batch norm and ReLU, and a pool; global mean.

    Args:
        classes: outputs.
        widths: channels of each block.
        norm_eps: added to the variance in batch norms.
        norm_momentum: share of a batch in the running mean and variance.
    """

    def __init__(
        self,
        classes: int,
        widths: tuple[int, ...] = (32, 64, 128, 256, 256),
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in widths:
            for _ in range(2):
                layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
                layers += [nn.BatchNorm2d(width, norm_eps, norm_momentum), nn.ReLU()]
                channels = width
            layers += [nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes)
        keras.initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


class SqueezeExcite(nn.Module):
    """Multiplies each channel by a weight computed from all channels' means (arXiv:1709.01507)."""

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
        norm: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.act = act
        self.norm1 = norm(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm2 = norm(channels)
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
        squeeze_excite: whether a block ends with squeeze-and-excite.
        mish: Mish (arXiv:1908.08681) in place of ReLU.
        norm_eps: added to the variance in batch norms.
        norm_momentum: share of a batch in the running mean and variance.
    """

    def __init__(
        self,
        classes: int,
        depth: int = 16,
        width: int = 8,
        dropout: float = 0.3,
        squeeze_excite: bool = False,
        mish: bool = False,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        if (depth - 4) % 6:
            raise ValueError(f"expected a depth of 6 n + 4, like 16 or 28, got {depth}")
        act = nn.Mish() if mish else nn.ReLU()
        norm = partial(nn.BatchNorm2d, eps=norm_eps, momentum=norm_momentum)
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False)]
        channels = 16
        for group in range(3):
            for block in range((depth - 4) // 6):
                stride = 2 if group and not block else 1
                wide = 16 * 2**group * width
                layers += [
                    WideBlock(
                        channels, wide, stride, dropout, excite=squeeze_excite, act=act, norm=norm
                    )
                ]
                channels = wide
        self.features = nn.Sequential(*layers, norm(channels), act)
        self.head = nn.Linear(channels, classes)
        keras.initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


def published(accuracy: float | None, protocol: str) -> Reference:
    return Reference("Deep Learning CA1: CIFAR-10 (notebook)", accuracy, protocol)


# What the text leaves open in every recipe.
LOOP = (
    "which 10,000 images are held out",
    "the defaults of Keras' layers: Glorot-uniform weights, batch norms with a momentum of 0.99 "
    "and an epsilon of 1e-3",
    "momentum of 0.9",
    "cycles of 10, 20, 40 and 80 epochs",
    "batch of 128",
)
BEST = "the weights of the best epoch on the images held out are kept"
MOVED = "crops moved by up to 4 pixels, edges reflected"
KERAS_NORMS = {"norm_eps": keras.NORM_EPS, "norm_momentum": keras.NORM_MOMENTUM}
L2 = "weight decay of 5e-4 on matrices and filters"

FULLY_CONNECTED = Recipe(
    name="fully_connected",
    about="fully connected baseline",
    network=FullyConnected,
    reference=published(None, "poor, says the text"),
    assumed=(
        "two hidden layers of 512 and 256",
        *LOOP,
        BEST,
        "rate of 0.05",
        "30 epochs, patience of 20",
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

# The text says that this network is a smaller version of the VGG in Dive into Deep Learning.
VGG10 = replace(
    FULLY_CONNECTED,
    name="vgg10",
    about="ten convolutions after VGG",
    network=Vgg10,
    arguments=KERAS_NORMS,
    reference=published(None, "overfits, says the text"),
    assumed=(
        "widths of 32, 64, 128, 256, 256 with batch norm and global mean",
        *LOOP,
        BEST,
        "rate of 0.1",
        L2,
        "70 epochs, patience of 40",
    ),
    optimizer=SGD(learning_rate=0.1, weight_decay=5e-4, decayed="weights"),
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

# The text gives neither depth nor width. 16 layers and width 8 cost a third of the paper's best
# network, `depth=28 width=10`.
WIDE = (
    "16 layers, width 8, dropout of 0.3",
    *LOOP,
    "rate of 0.1",
    "Nesterov momentum",
    L2,
)
WRN = replace(
    VGG10,
    name="wrn",
    about="Wide ResNet",
    network=WideResNet,
    arguments=KERAS_NORMS,
    reference=published(0.93, "best epoch on 10,000 held out, in less than 60 epochs"),
    assumed=(*WIDE, BEST, "70 epochs, patience of 40"),
    optimizer=SGD(nesterov=True, weight_decay=5e-4, decayed="weights"),
)

# The text adapts CutMix from an example of Keras, and trains for 100 epochs.
CUTMIX = (
    MOVED,
    "boxes of Beta(0.25, 0.25), as in the example; one box a batch, where the example has one an "
    "image",
)
WRN_CUTMIX = replace(
    WRN,
    name="wrn_cutmix",
    about="Wide ResNet, CutMix",
    reference=published(0.93, "as without it, stopped at 100 epochs"),
    assumed=(*WIDE, *CUTMIX, BEST, "patience of 40"),
    augmentation=Augmentation(flip="random", translate=4, cutmix=0.25),
    epochs=100,
)

EXCITED = (*WIDE, *CUTMIX, "squeeze-and-excite at the end of each block, reduced by 16")
WRN_SE = replace(
    WRN_CUTMIX,
    name="wrn_se",
    about="Wide ResNet, CutMix, squeeze-and-excite",
    reference=published(0.946, "best epoch on 10,000 held out"),
    assumed=(*EXCITED, BEST, "150 epochs, patience of 40"),
    arguments={**KERAS_NORMS, "squeeze_excite": True},
    epochs=150,
)

WRN_MISH = replace(
    WRN_SE,
    name="wrn_mish",
    about="Wide ResNet, CutMix, squeeze-and-excite, Mish",
    reference=published(None, "no better, says the text"),
    arguments={**KERAS_NORMS, "squeeze_excite": True, "mish": True},
)

# The text names a tuned model, and does not describe it.
TUNED = "the tuned model is `wrn_se`: the text does not say what was searched, nor what was found"
WRN_TUNED = replace(
    WRN_SE,
    name="wrn_tuned",
    about="Wide ResNet, to be searched by falconet tune",
    reference=published(None, "no figure"),
    assumed=(*WRN_SE.assumed, TUNED),
    space=(
        "learning_rate=0.02..0.3",
        "weight_decay=1e-4..2e-3",
        "dropout=0.0..0.5",
        "label_smoothing=0.0..0.2",
    ),
)

# Snapshot ensemble (arXiv:1704.00109): the mean of the predictions of three networks, each saved
# before a warm restart. Serving it costs three times as much.
SNAPSHOTS = replace(
    WRN_TUNED,
    name="snapshots",
    about="ensemble of three snapshots of a Wide ResNet",
    reference=published(0.95, "mean of three, on 10,000 held out"),
    assumed=(*EXCITED, TUNED, "150 epochs, with snapshots after 30, 70 and 150 of them"),
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
