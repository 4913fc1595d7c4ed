"""Networks of torchvision and timm, with a last layer for other classes."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .importers import timm, torchvision
from .importers.model import at_size
from .importers.state import read_state
from .registry import register

DEFAULT = "torchvision:resnet18"
LIBRARIES = {"torchvision": torchvision, "timm": timm}


@register
class Backbone(nn.Module):
    """A classifier of torchvision or timm, with random weights and as many outputs as classes.

    Input ``(N, 3, height, width)`` float32, normalized; output ``(N, classes)`` logits.

    Args:
        backbone: like ``torchvision:resnet18`` or ``timm:convnext_atto``.
        classes: outputs.

    Raises:
        ValueError: there is no such network in the library, or its last layer is not one of
            classes.
        ModuleNotFoundError: the library that has it is not installed.
    """

    def __init__(self, backbone: str = DEFAULT, classes: int = 10) -> None:
        super().__init__()
        library, name = _find(backbone)
        self.network: nn.Module = library.random(name, classes)
        layers = self.network.named_modules()
        last, layer = [each for each in layers if isinstance(each[1], nn.Linear | nn.Conv2d)][-1]
        outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        if outputs != classes:
            raise ValueError(
                f"{backbone}: expected a network whose last layer has an output for each class, "
                f"got {last} with {outputs}; choose another one"
            )
        # Some libraries initialize this layer with larger values for fewer classes.
        layer.reset_parameters()
        self.head = last

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits

    def backbone_parameters(self) -> list[nn.Parameter]:
        """All but those of the last layer."""
        head = f"{self.head}."
        return [p for name, p in self.network.named_parameters() if not name.startswith(head)]

    def take(self, state: Mapping[str, Tensor]) -> None:
        """Copy weights of the same network, all but those of the last layer.

        Files of early versions of PyTorch lack ``num_batches_tracked`` of norms, which is then
        left unchanged.

        Raises:
            ValueError: some are missing, or of another shape.
        """
        head, own = f"{self.head}.", self.network.state_dict()
        wanted = [name for name in own if not name.startswith(head)]
        wanted = [n for n in wanted if n in state or not n.endswith(".num_batches_tracked")]
        lacking = [n for n in wanted if n not in state or state[n].shape != own[n].shape]
        if lacking:
            raise ValueError(
                f"expected the weights of this network, got others: {len(lacking)} of its "
                f"{len(own)} tensors are missing or of another shape, {lacking[:3]}"
            )
        own.update({name: state[name] for name in wanted})  # own has the layers' versions
        self.network.load_state_dict(own)


@cache
def own_preprocessing(backbone: str) -> dict[str, Any]:
    """Fields of a spec for the preprocessing that the published weights expect."""
    library, name = _find(backbone)
    found: dict[str, Any] = library.preprocessing(name)
    return found


def preprocessing(backbone: str, size: tuple[int, int]) -> dict[str, Any]:
    """The same for an input of ``(height, width)``, with ``resize`` scaled in proportion."""
    return at_size(own_preprocessing(backbone), size)


def published_state(backbone: str, weights: Path | None = None) -> Mapping[str, Tensor]:
    """The published weights, from the library's cache or a download; or those of a file.

    Raises:
        ValueError: the file holds something else.
        ConnectionError: they are not in the cache, and cannot be downloaded.
    """
    library, name = _find(backbone)
    if weights is not None:
        return read_state(weights)
    try:
        found: Mapping[str, Tensor] = library.published(name)
        return found
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"the weights of {backbone} could not be downloaded ({error}); name a file that has "
            "them with --weights"
        ) from error


def is_backbone(name: str) -> bool:
    """Whether a name is that of a backbone rather than a file."""
    return name.partition(":")[0] in LIBRARIES and ":" in name


def _find(backbone: str) -> tuple[Any, str]:
    """The importer of a network, and the network's name there."""
    library, _, name = backbone.partition(":")
    if not is_backbone(backbone):
        raise ValueError(
            f"expected a backbone like {DEFAULT} or timm:convnext_atto, got {backbone!r}"
        )
    if library == "timm" and ":" in name:  # a weights file may name it, and is read offline
        raise ValueError(
            f"expected a network that timm itself has, like timm:convnext_atto, got {backbone!r}, "
            "which is read from elsewhere: name the network, and its weights with --weights"
        )
    return LIBRARIES[library], name
