"""Networks of torchvision that tell classes apart, without weights to download.

Their layers stay as they are initialized, batch norms get the statistics of real images, and a
linear head is fitted to what comes out, by ridge regression. So an image has a class with some
margin, as it would by trained weights, and accuracy is a figure. Trained networks have wider ranges
of values: this shows the times, and that nothing is computed wrongly, rather than what int8 costs
yours, which `falconet archive --calibrate` says.
"""

from typing import Any

import torch
import torchvision
from torch import Tensor, nn

NETWORKS = (
    *("resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0"),
    *("regnet_x_400mf", "convnext_tiny", "vit_b_16"),
)
BATCH = 8
RIDGE = 1.0


def network(name: str) -> tuple[nn.Module, nn.Linear]:
    """As it is initialized, and its last layer."""
    torch.manual_seed(0)
    made: nn.Module = getattr(torchvision.models, name)()
    for parameter_name, parameter in made.named_parameters():
        # ConvNeXt's blocks would say next to nothing at the 1e-6 that training begins with.
        if parameter_name.endswith("layer_scale"):
            nn.init.ones_(parameter)
    *_, last = (each for each in made.modules() if isinstance(each, nn.Linear))
    return made, last


def fitted(name: str, images: Tensor, labels: Tensor) -> nn.Module:
    """A network for the classes of images.

    Args:
        name: of :data:`NETWORKS`.
        images: ``(N, 3, height, width)`` float32, normalized.
        labels: ``(N,)``.
    """
    made, last = network(name)
    with torch.no_grad():
        _set_norms(made, images[: 8 * BATCH])
        features = _inputs(made.eval(), last, images)
        mean, std = features.mean(0), features.std(0).clamp_min(1e-6)
        x = ((features - mean) / std).double()
        count = int(labels.max()) + 1
        wanted = nn.functional.one_hot(labels, count).double() - 1 / count
        gram = x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1])
        weight = torch.linalg.solve(gram, x.T @ wanted).T.float()
        # Larger numbers change no class, and make probabilities of them.
        weight = 20 * weight / std
        head = nn.Linear(x.shape[1], count)
        head.weight.copy_(weight)
        head.bias.copy_(-weight @ mean)
    for parent in made.modules():
        for child_name, child in parent.named_children():
            if child is last:
                setattr(parent, child_name, head)
    return made


def _set_norms(made: nn.Module, images: Tensor) -> None:
    norms = [each for each in made.modules() if isinstance(each, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean of all batches
    made.train()
    for each in made.modules():
        if isinstance(each, nn.Dropout | torchvision.ops.StochasticDepth):
            each.eval()
    for batch in images.split(BATCH):
        made(batch)


def _inputs(made: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """What a layer is given."""
    found: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        found.append(inputs[0])

    hook = layer.register_forward_pre_hook(keep)
    for batch in images.split(BATCH):
        made(batch)
    hook.remove()
    return torch.cat(found)
