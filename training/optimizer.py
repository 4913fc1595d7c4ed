"""The optimizers of recipes, and the parameters that weight decay applies to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from falconet.model.backbone import Backbone

from . import keras

Decayed = Literal["all", "weights", "hidden", "convolutions"]

# With ``on_gpu``, the learning rate and the step count are tensors on the GPU, so that a step can
# be captured (falconet.training.capture).


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum.

    Attributes:
        learning_rate: per step, on the mean loss of a batch; the schedule multiplies it.
        momentum: share of the last step that is taken again.
        nesterov: whether the gradient is taken where the momentum leads.
        weight_decay: L2; Keras' ``l2(x)`` is a weight decay of ``2 x``.
        decayed: ``"all"`` parameters, ``"weights"`` (matrices and filters), ``"hidden"`` (those but
            the last layer's), or ``"convolutions"``.
        bias_rate: the learning rate of biases and norms, as a multiple. Their decay is divided by
            it, so that the product stays.
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    decayed: Decayed = "all"
    bias_rate: float = 1.0

    def build(self, network: nn.Module, *, on_gpu: bool = False) -> torch.optim.Optimizer:
        groups = _groups(network, self.decayed, self.weight_decay)
        for group in groups:
            if group["params"][0].ndim == 1:
                group["lr"] = self.learning_rate * self.bias_rate
                group["weight_decay"] /= self.bias_rate
        return torch.optim.SGD(
            groups,
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            fused=on_gpu,
        )


@dataclass(frozen=True)
class Adam:
    """Adam (arXiv:1412.6980) with L2 in the gradient and Keras' epsilon; fields as in SGD."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    decayed: Decayed = "all"

    def build(self, network: nn.Module, *, on_gpu: bool = False) -> torch.optim.Optimizer:
        groups = _groups(network, self.decayed, self.weight_decay)
        return torch.optim.Adam(groups, lr=self.learning_rate, eps=keras.EPSILON, capturable=on_gpu)


@dataclass(frozen=True)
class RMSprop:
    """RMSprop as in Keras: squared gradients smoothed by 0.9, epsilon 1e-7; fields as in SGD."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    decayed: Decayed = "all"

    def build(self, network: nn.Module, *, on_gpu: bool = False) -> torch.optim.Optimizer:
        groups = _groups(network, self.decayed, self.weight_decay)
        return torch.optim.RMSprop(
            groups, lr=self.learning_rate, alpha=0.9, eps=keras.EPSILON, capturable=on_gpu
        )


Optimizer = SGD | Adam | RMSprop


def load_moments(optimizer: torch.optim.Optimizer, state: Mapping[int, Any]) -> None:
    """Restore the moments of a checkpoint into an optimizer, and keep its learning rates.

    Moments get the memory layout of their parameters, as fused kernels need: a run that began on a
    CPU may resume on a GPU, where float32 has another layout.
    """
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(value)


def _groups(network: nn.Module, decayed: Decayed, weight_decay: float) -> list[dict[str, Any]]:
    """Groups of trained parameters: with two or more dimensions or vectors; with weight decay or
    without; of a backbone, or of its head and of other networks.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim > 1]
    chosen = {
        "all": trained,
        "weights": matrices,
        "hidden": matrices[:-1],
        "convolutions": [parameter for parameter in matrices if parameter.ndim == 4],
    }[decayed]
    kept = {id(parameter) for parameter in chosen}
    parts = network.backbone_parameters() if isinstance(network, Backbone) else []
    backbone = {id(parameter) for parameter in parts}
    groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    for parameter in trained:
        kind = (parameter.ndim > 1, id(parameter) in kept, id(parameter) in backbone)
        groups.setdefault(kind, []).append(parameter)
    return [
        {
            "params": members,
            "weight_decay": weight_decay if decays else 0.0,
            "backbone": of_backbone,
        }
        for (_, decays, of_backbone), members in groups.items()
    ]
