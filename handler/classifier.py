"""From pixels to labels, without a server."""

import json
import warnings
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from falconet.native import Preprocessor

from .decode import Data, Encoded, Pixels
from .errors import RequestError

FORMAT = 1  # of spec.json

# Shrinking while decoding leaves this many times the sides that the picture is resized to, so that
# the resize has something to filter.
HEADROOM = 2


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
        self.fast_decoding = spec.get("decode", "exact") == "fast"
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
        for size in batch_sizes:
            for _ in range(3):  # profile, optimize, run
                shape = tuple(self.logits(np.zeros_like(self.batch(size))).shape)
                if shape != (size, len(self.classes)):
                    raise ValueError(
                        f"the model returned {shape} for a batch of {size}; expected one number "
                        f"for each of the {len(self.classes)} classes in spec.json"
                    )

    def open(self, data: Data, max_pixels: int) -> Encoded:
        """Read a picture's header, and make sure that it can be preprocessed.

        Raises:
            RequestError: as :class:`Encoded`; 422 for a picture so long and thin that it cannot be
                resized in proportion.
        """
        encoded = Encoded(data, max_pixels)
        try:
            self.preprocess.resized(encoded.height, encoded.width)
        except ValueError as error:
            raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        return encoded

    def decode(self, encoded: Encoded) -> Pixels:
        """The pixels of a picture, decoded as ``spec.json`` states."""
        if not self.fast_decoding:
            return encoded.decode()
        height, width = self.preprocess.resized(encoded.height, encoded.width)
        return encoded.decode(least=(HEADROOM * height, HEADROOM * width))

    def batch(self, pictures: int) -> npt.NDArray[np.float32]:
        """Room for the network's input, ``(pictures, C, height, width)``."""
        return np.empty((pictures, self.channels, *self.preprocess.size), np.float32)

    def prepare(self, pictures: Sequence[Pixels], out: npt.NDArray[np.float32]) -> None:
        """Preprocess RGB pictures of any sizes into rows of a batch."""
        if self.channels == 1:
            pictures = [np.asarray(Image.fromarray(pixels).convert("L")) for pixels in pictures]
        self.preprocess(pictures, out=out)

    @torch.inference_mode()
    def logits(self, batch: npt.NDArray[np.float32]) -> Tensor:
        """``(N, classes)`` float32 for a batch, in one forward pass."""
        output: Tensor = self.model(torch.from_numpy(batch))
        return output

    def predict(self, batch: npt.NDArray[np.float32]) -> list[list[Prediction]]:
        """The most likely classes of each row of a batch, best first."""
        if len(batch) == 0:
            return []
        best = self.logits(batch).softmax(1).topk(self.top_k)
        return [
            [Prediction(self.classes[i], p) for i, p in zip(indices, probabilities, strict=True)]
            for indices, probabilities in zip(
                best.indices.tolist(), best.values.tolist(), strict=True
            )
        ]

    def classify(self, pictures: Sequence[Pixels]) -> list[list[Prediction]]:
        """The most likely classes of each RGB picture, best first."""
        batch = self.batch(len(pictures))
        self.prepare(pictures, batch)
        return self.predict(batch)
