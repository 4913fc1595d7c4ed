"""A trained network in one file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from . import backbone as _backbone  # noqa: F401 - registers itself
from . import ensemble as _ensemble  # noqa: F401 - as well
from . import network as _network  # noqa: F401 - as well
from . import storage
from .registry import NETWORKS
from .spec import Spec

FORMAT = 1
PRETRAINED = Path(__file__).parent / "pretrained" / "cifar10.pt"


@dataclass(frozen=True)
class Weights:
    """A trained network, its spec, and some images to check an export with.

    Attributes:
        network: in evaluation mode, on the CPU; of a registered class.
        arguments: what its class was called with; plain values only.
        spec: what it expects and answers.
        samples: images of the training set, held out if any were, at the network's size: uint8
            ``(height, width, 3)``.
        card: how it was made: recipe, environment, accuracy; plain values only.
    """

    network: nn.Module
    arguments: dict[str, Any]
    spec: Spec
    samples: list[npt.NDArray[np.uint8]]
    card: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write the file. Matrices and filters are stored in half precision.

        Raises:
            OSError: it could not be written.
        """
        state = {
            name: value.half() if value.ndim > 1 and value.is_floating_point() else value
            for name, value in self.network.state_dict().items()
        }
        content = {
            "format": FORMAT,
            "network": type(self.network).__name__,
            "arguments": self.arguments,
            "state": state,
            "spec": self.spec.to_json(),
            "samples": [torch.tensor(pixels) for pixels in self.samples],
            "card": self.card,
        }
        storage.save(content, path)

    @classmethod
    def load(cls, path: Path = PRETRAINED) -> "Weights":
        """Read a file; nothing in it is executed.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is of another format, or of a network that this version does not know.
        """
        content = storage.load(path)
        if content.get("format") != FORMAT:
            raise ValueError(f"{path}: expected a weights file of format {FORMAT}")
        if content["network"] not in NETWORKS:
            raise ValueError(
                f"{path}: expected one of the networks {sorted(NETWORKS)}, "
                f"got {content['network']!r}"
            )
        network = NETWORKS[content["network"]](**content["arguments"])
        network.load_state_dict(content["state"])
        return cls(
            network=network.eval(),
            arguments=content["arguments"],
            spec=Spec.from_json(content["spec"]),
            samples=[pixels.numpy() for pixels in content["samples"]],
            # Before version 1.0 images were called pictures.
            card={k.replace("pictures", "images"): v for k, v in content["card"].items()},
        )
