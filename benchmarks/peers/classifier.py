"""What every peer computes: the same TorchScript file, with the preprocessing of its spec.

By PIL and torchvision, as their users write it. Each peer's own file does the rest.
"""

import io
import json
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torchvision import transforms

TOP = 5


class Classifier:
    """The model in the folder that ``MODEL_FOLDER`` names, with one thread."""

    def __init__(self) -> None:
        folder = Path(os.environ["MODEL_FOLDER"])
        spec = json.loads((folder / "spec.json").read_text())
        size = tuple(spec["size"])
        if spec["resize"] is None:
            resizing = [transforms.Resize(size)]
        else:
            resizing = [transforms.Resize(spec["resize"]), transforms.CenterCrop(size)]
        normalize = transforms.Normalize(spec["mean"], spec["std"])
        self.transform = transforms.Compose([*resizing, transforms.ToTensor(), normalize])
        self.classes = spec["classes"]
        torch.set_num_threads(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if os.environ.get("MODEL_PRECISION") == "int8":
                self.model = _in_int8(folder, (len(spec["mean"]), *size))
            else:
                self.model = torch.jit.load(str(folder / "model.pt")).eval()

    def read(self, data: bytes) -> torch.Tensor:
        """An image file to the network's input, ``(3, height, width)``."""
        tensor: torch.Tensor = self.transform(Image.open(io.BytesIO(data)).convert("RGB"))
        return tensor

    @torch.inference_mode()
    def predict(self, tensors: Sequence[torch.Tensor]) -> list[dict[str, Any]]:
        """The most likely classes of each input, best first."""
        best = self.model(torch.stack(list(tensors))).softmax(1).topk(TOP)
        answers = []
        for indices, probabilities in zip(best.indices.tolist(), best.values.tolist(), strict=True):
            found = [
                {"label": self.classes[i], "probability": p}
                for i, p in zip(indices, probabilities, strict=True)
            ]
            answers.append({"predictions": found})
        return answers


def _in_int8(folder: Path, image: tuple[int, int, int]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Falconet's int8 model, without its preprocessing and server."""
    from falconet.handler.network import Network
    from falconet.handler.quantization import FILE_NAME, Quantization

    quantization = Quantization.from_json((folder / FILE_NAME).read_text())
    return Network(folder / "model.pt", "int8", image=image, quantization=quantization)
