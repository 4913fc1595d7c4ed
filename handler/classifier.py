"""From pixels to labels, without a server."""

import json
import warnings
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from falconet.native import Preprocessor

from .decode import Pixels
from .errors import RequestError

FORMAT = 1  # of spec.json


class Prediction(NamedTuple):
    """One class and how likely it is, from 0 to 1."""

    label: str
    probability: float


class Classifier:
    """A TorchScript model with the preprocessing and the labels of its ``spec.json``.

    Args:
        folder: holds the model and ``spec.json``, as an unpacked archive does.
        model: name of the TorchScript file. It takes ``(N, C, height, width)`` float32 and
            returns ``(N, classes)`` logits.
        threads: for preprocessing; 0 is one for each core.

    Raises:
        FileNotFoundError: one of the files is missing.
        ValueError: ``spec.json`` does not fit this version, or the model does not fit it.
    """

    def __init__(self, folder: Path, model: str = "model.pt", threads: int = 0) -> None:
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        if spec.get("format") != FORMAT:
            raise ValueError(
                f"spec.json: expected format {FORMAT}, got {spec.get('format')!r}; the archive "
                "was made by another version of falconet"
            )
        self.preprocess = Preprocessor.from_spec(spec, threads)
        self.channels = len(self.preprocess.mean)
        if self.channels not in (1, 3):
            raise ValueError(
                f"spec.json: expected a model of gray or RGB pictures, with 1 or 3 numbers in mean "
                f"and std, got {self.channels}"
            )
        self.classes: list[str] = spec["classes"]
        self.top_k = min(spec["top_k"], len(self.classes))
        with warnings.catch_warnings():
            # Deprecated since torch 2.11, and still the format that TorchServe loads.
            warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            self.model = torch.jit.load(str(folder / model), map_location="cpu").eval()

    def warm_up(self, batch_sizes: Sequence[int]) -> None:
        """Run each batch size until TorchScript has specialized for it, and check the output.

        Raises:
            ValueError: the model does not return ``(N, classes)``.
        """
        black = np.zeros((*self.preprocess.size, 3), np.uint8)
        for size in batch_sizes:
            for _ in range(3):  # profile, optimize, run
                shape = tuple(self.logits([black] * size).shape)
                if shape != (size, len(self.classes)):
                    raise ValueError(
                        f"the model returned {shape} for a batch of {size}; expected one number "
                        f"for each of the {len(self.classes)} classes in spec.json"
                    )

    def check(self, pixels: Pixels) -> None:
        """Make sure that a picture can be preprocessed, before it joins a batch.

        Raises:
            RequestError: 422 for one so long and thin that it cannot be resized in proportion.
        """
        try:
            self.preprocess.resized(*pixels.shape[:2])
        except ValueError as error:
            raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None

    @torch.inference_mode()
    def logits(self, pictures: Sequence[Pixels]) -> Tensor:
        """``(N, classes)`` float32 for RGB pictures of any sizes, in one forward pass."""
        if self.channels == 1:
            pictures = [np.asarray(Image.fromarray(pixels).convert("L")) for pixels in pictures]
        batch = torch.from_numpy(self.preprocess(pictures))
        output: Tensor = self.model(batch)
        return output

    def classify(self, pictures: Sequence[Pixels]) -> list[list[Prediction]]:
        """The most likely classes of each RGB picture, best first."""
        if not pictures:
            return []
        best = self.logits(pictures).softmax(1).topk(self.top_k)
        return [
            [Prediction(self.classes[i], p) for i, p in zip(indices, probabilities, strict=True)]
            for indices, probabilities in zip(
                best.indices.tolist(), best.values.tolist(), strict=True
            )
        ]
