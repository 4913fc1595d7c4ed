"""Wide ResNet (arXiv:1605.07146) without augmentation, after the notebook Deep Learning CA1.

The notebook does not say how deep and wide: 16 layers and width 8 are assumed, at a third of the
cost of the paper's best, `depth=28 width=10`.
"""

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from falconet.model.registry import register

from ..optimizer import SGD
from ..recipe import Reference
from . import vgg10
from .fully_connected import LOOP, SOURCE


class SqueezeExcite(nn.Module):
    """Weighs channels by what the whole picture has in them (arXiv:1709.01507)."""

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


RECIPE = replace(
    vgg10.RECIPE,
    name="wrn",
    about="Wide ResNet",
    network=WideResNet,
    reference=Reference(SOURCE, 0.93, "best epoch on 10,000 held out, in less than 60 epochs"),
    assumed=(
        "16 layers, width 8, dropout of 0.3",
        *LOOP,
        "batch of 128, rate of 0.1, Nesterov, decay of 5e-4, patience of 40",
        "70 epochs",
    ),
    optimizer=SGD(nesterov=True, weight_decay=5e-4),
)
