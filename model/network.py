"""The networks: convolutions whose batch norms fold away for serving."""

import copy
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .registry import register


class ConvNorm(nn.Module):
    """3x3 convolution, max-pool or stride if asked for, batch norm.

    The scale of the batch norm stays 1. With a positive scale the norm commutes with the pool, so
    it can come after it, on a quarter of the values, and still fold into the convolution.
    """

    def __init__(
        self, channels_in: int, channels_out: int, *, pool: bool = False, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        norm = nn.BatchNorm2d(channels_out, momentum=0.2)
        norm.weight.requires_grad_(False)
        self.norm: nn.BatchNorm2d | nn.Identity = norm
        # Starts as the identity on the channels that come in (arXiv:1706.00388).
        nn.init.dirac_(self.conv.weight[:channels_in])

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.pool(self.conv(x)))
        return normed


class Stage(nn.Module):
    """Halves the sides, then refines: a convolution, and pairs of them with a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, *, pairs: int, strided: bool) -> None:
        super().__init__()
        self.down = ConvNorm(
            channels_in, channels_out, pool=not strided, stride=2 if strided else 1
        )
        for number in range(1, 2 * pairs + 1):
            self.add_module(f"refine{number}", ConvNorm(channels_out, channels_out))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.down(x))
        refine = [layer for name, layer in self.named_children() if name != "down"]
        for first, second in zip(refine[::2], refine[1::2], strict=True):
            x = F.relu(x + second(F.relu(first(x))))
        return x


@register
class ConvNet(nn.Module):
    """A small network for small images: 2x2 whitening, three stages, global max.

    After the networks of airbench94 and airbench96 (Keller Jordan, arXiv:2404.00498): the widths
    of the one, the stages of the other, and ReLU for GELU, which folds and quantizes better.

    Input ``(N, 3, height, width)`` float32, normalized, sides of at least 9 pixels; output
    ``(N, classes)`` logits.

    Args:
        widths: channels of each stage.
        pairs: of convolutions with a shortcut, for each stage; one each where none are given.
        strided: whether a stage's first convolution goes in steps of two, at a quarter of the cost
            of one with a pool behind it.
        classes: outputs.

    Raises:
        ValueError: pairs are given, but not for each stage.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 256, 256),
        pairs: tuple[int, ...] = (),
        strided: bool = False,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        channels = [self.whiten.out_channels, *widths]
        pairs = pairs or (1,) * len(widths)
        if len(pairs) != len(widths):
            raise ValueError(f"expected a number of pairs for each of {widths}, got {pairs}")
        stages = zip(pairwise(channels), pairs, strict=True)
        self.stages = nn.Sequential(
            *(Stage(a, b, pairs=count, strided=strided) for (a, b), count in stages)
        )
        self.head = nn.Linear(channels[-1], classes, bias=False)
        # Keeps the logits small at first, whatever the width.
        self.logit_scale = 1 / 9

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(F.relu(self.whiten(x)))
        logits: Tensor = self.head(x.amax((2, 3)))
        return logits * self.logit_scale

    @torch.no_grad()
    def initialize_whitening(self, images: Tensor) -> None:
        """Set the first layer to decorrelate 2x2 patches, and keep it there.

        Args:
            images: ``(N, 3, height, width)`` float32, normalized; some thousands are enough.
        """
        patches = images.unfold(2, 2, 1).unfold(3, 2, 1)
        patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
        covariance = (patches.T @ patches / len(patches)).double()
        values, vectors = torch.linalg.eigh(covariance)
        filters = (vectors / (values + 5e-4).sqrt()).T.flip(0).reshape(12, 3, 2, 2)
        self.whiten.weight.copy_(torch.cat([filters, -filters]))
        self.whiten.weight.requires_grad_(False)
        assert self.whiten.bias is not None
        self.whiten.bias.zero_()

    def folded(self) -> "ConvNet":
        """A copy for inference, its batch norms and logit scale folded into the weights."""
        network = copy.deepcopy(self).eval()
        for layer in network.modules():
            if isinstance(layer, ConvNorm):
                assert isinstance(layer.norm, nn.BatchNorm2d)
                layer.conv = fuse_conv_bn_eval(layer.conv, layer.norm)
                layer.norm = nn.Identity()
        with torch.no_grad():
            network.head.weight.mul_(network.logit_scale)
        network.logit_scale = 1.0
        return network
