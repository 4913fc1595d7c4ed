"""A trained network in one file."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .network import NETWORKS, ConvNet
from .spec import Spec

FORMAT = 1
PRETRAINED = Path(__file__).parent / "pretrained" / "cifar10.pt"


@dataclass(frozen=True)
class Weights:
    """A trained network, its spec, and some pictures to check an export with.

    Attributes:
        network: in evaluation mode, on the CPU.
        spec: what it expects and answers.
        samples: pictures it was validated on, uint8 ``(height, width, 3)`` each.
        card: how it was made: recipe, environment, accuracy; plain values only.
    """

    network: ConvNet
    spec: Spec
    samples: list[npt.NDArray[np.uint8]]
    card: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write the file. Matrices and filters are stored in half precision."""
        state = {
            name: value.half() if value.ndim > 1 else value
            for name, value in self.network.state_dict().items()
        }
        content = {
            "format": FORMAT,
            "network": type(self.network).__name__,
            "arguments": self.network.arguments,
            "state": state,
            "spec": self.spec.to_json(),
            "samples": [torch.tensor(pixels) for pixels in self.samples],
            "card": self.card,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)

    @classmethod
    def load(cls, path: Path = PRETRAINED) -> "Weights":
        """Read a file; nothing in it is executed.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is of another format, or of a network that this version does not know.
        """
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
            raise ValueError(f"{path}: expected a weights file, got something else") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
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
            spec=Spec.from_json(content["spec"]),
            samples=[pixels.numpy() for pixels in content["samples"]],
            card=content["card"],
        )
