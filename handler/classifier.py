"""From pixels to labels, without a server."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from falconet.native import Preprocessor
from falconet.native.data import Data, Pixels
from falconet.native.decode import Decoded, Decoder, Encoded, gray
from falconet.native.errors import DamagedImageError
from falconet.native.output import check_output, probabilities

from .answer import FORMS
from .network import Network
from .precision import Precision
from .quantization import FILE_NAME as INT8
from .quantization import Quantization

logger = logging.getLogger(__name__)

READABLE = (1, 2, 3, 4)  # formats of spec.json

# Shrinking while decoding leaves this many times the sides that the image is resized to, so that
# the resize has something to filter.
HEADROOM = 2
# TorchScript looks at the first two runs, and then optimizes.
OPTIMIZED_AFTER = 3

# What a network takes, before it is a tensor.
Rows = npt.NDArray[np.float32] | npt.NDArray[np.uint16]


class Prediction(NamedTuple):
    """One class, how likely it is, from 0 to 1, and its number, from 0."""

    label: str
    probability: float
    number: int


class Classifier:
    """A TorchScript model with the preprocessing and the labels of its ``spec.json``.

    Args:
        folder: holds the model and ``spec.json``, as an unpacked archive does.
        model: name of the TorchScript file. It takes ``(N, C, height, width)`` float32 and
            returns ``(N, classes)`` of what the spec's ``output`` says.
        threads: for preprocessing; 0 is one for each core.
        precision: of the model, see :class:`falconet.handler.network.Network`.
        device: of the model, likewise.

    Raises:
        FileNotFoundError: one of the files is missing.
        ValueError: ``spec.json`` does not fit this version, or the model does not fit it.
        ModuleNotFoundError: the decoder of a format in ``spec.json`` is not installed.
    """

    def __init__(
        self,
        folder: Path,
        model: str = "model.pt",
        threads: int = 0,
        precision: Precision = "auto",
        device: str = "cpu",
    ) -> None:
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        if spec.get("format") not in READABLE:
            raise ValueError(
                f"spec.json: expected a format of {READABLE}, got {spec.get('format')!r}; the "
                "archive was made by another version of falconet"
            )
        self.spec: dict[str, Any] = spec
        self._threads = threads
        checked = Preprocessor.from_spec(spec, threads=1)
        image = (len(checked.mean), *checked.size)
        quantization = None
        if precision == "int8" and (folder / INT8).is_file():
            text = (folder / INT8).read_text(encoding="utf-8")
            quantization = Quantization.from_json(text)
        self._use(Network(folder / model, precision, device, image, quantization))
        self.channels = len(self.preprocess.mean)
        if self.channels not in (1, 3):
            raise ValueError(
                f"spec.json: expected a model of gray or RGB images, with 1 or 3 numbers in mean "
                f"and std, got {self.channels}"
            )
        self.decoder = Decoder.from_spec(spec)
        self.fast_decoding = spec.get("decode", "exact") == "fast"
        self.output: str = spec.get("output", "logits")
        self.temperature: float = spec.get("temperature", 1.0)
        check_output(self.output, self.temperature)
        form = spec.get("answer", "falconet")
        if form not in FORMS:
            raise ValueError(
                f"spec.json: expected answer to be one of {', '.join(FORMS)}, got {form!r}"
            )
        self.form = FORMS[form]
        self.classes: list[str] = spec["classes"]
        self.top_k = min(spec["top_k"], len(self.classes))
        try:
            for _ in range(OPTIMIZED_AFTER):
                self.logits(np.zeros_like(self.batch(1)))
        except RuntimeError:
            # A model may insist on float32 somewhere, or have convolutions like no other. What is
            # wrong with it as it is, its first batch will say.
            plain: Precision = "bfloat16" if precision == "bfloat16" else "float32"
            logger.warning(
                "the model cannot be computed in %s with %d packed convolutions, and is in %s as "
                "it was exported",
                self.network.precision,
                self.network.packed,
                plain,
                exc_info=True,
            )
            self._use(Network(folder / model, plain, device))

    def _use(self, network: Network) -> None:
        """Preprocess to what a network takes."""
        self.network = network
        self.preprocess = Preprocessor.from_spec(
            self.spec,
            threads=self._threads,
            layout="NHWC",  # which is what torch's channels_last is in memory
            dtype="bfloat16" if network.dtype == torch.bfloat16 else "float32",
        )

    def warm_up(self, batch_size: int) -> None:
        """Run every size of batch until its kernels are chosen, and check the output.

        Raises:
            ValueError: the model does not return finite numbers, ``(N, classes)``.
            TypeError: it does not return a tensor.
            RuntimeError: it cannot be run.
        """
        rows = self.batch(batch_size)
        # Not images of one color, which a model may divide by the variance of.
        _tensor(rows).copy_(torch.randn(rows.shape, generator=torch.Generator().manual_seed(0)))
        for size in range(1, batch_size + 1):
            for _ in range(OPTIMIZED_AFTER if size == 1 else 1):
                logits = self.logits(rows[:size])
                if tuple(logits.shape) != (size, len(self.classes)):
                    raise ValueError(
                        f"the model returned {tuple(logits.shape)} for a batch of {size}; expected "
                        f"one number for each of the {len(self.classes)} classes in spec.json"
                    )
        if not logits.isfinite().all():
            raise ValueError(
                "the model returned logits that are not finite; train it until they are, or serve "
                "it with --precision float32"
            )

    def open(self, data: Data | Pixels, max_pixels: int) -> Encoded | Decoded:
        """Read an image's header, and make sure that it can be preprocessed.

        Raises:
            ImageError: as :class:`falconet.native.decode.Encoded`; or the image is so long and
                thin that it cannot be resized in proportion.
        """
        encoded: Encoded | Decoded
        if isinstance(data, np.ndarray):
            encoded = Decoded(data, max_pixels)
        else:
            encoded = self.decoder.open(data, max_pixels)
        try:
            self.preprocess.resized(encoded.height, encoded.width)
        except ValueError as error:
            raise DamagedImageError(str(error)) from None
        return encoded

    def decode(self, encoded: Encoded | Decoded) -> Pixels:
        """The pixels of an image, decoded as ``spec.json`` states."""
        if not self.fast_decoding:
            return encoded.decode()
        height, width = self.preprocess.resized(encoded.height, encoded.width)
        return encoded.decode(least=(HEADROOM * height, HEADROOM * width))

    def batch(self, images: int) -> Rows:
        """Room for the network's input, ``(images, height, width, C)``.

        float32, or the bits of bfloat16 as uint16; pinned if the network runs on a GPU.
        """
        shape = (images, *self.preprocess.size, self.channels)
        dtype = torch.uint16 if self.preprocess.dtype == "bfloat16" else torch.float32
        pinned = self.network.device.type == "cuda"
        rows: Rows = torch.empty(shape, dtype=dtype, pin_memory=pinned).numpy()
        return rows

    def prepare(self, images: Sequence[Pixels], out: Rows) -> None:
        """Preprocess RGB images of any sizes into rows of a batch."""
        if self.channels == 1:
            images = [gray(pixels) for pixels in images]
        self.preprocess(images, out=out)

    def logits(self, batch: Rows) -> Tensor:
        """``(N, classes)`` float32 for a batch, in one forward pass."""
        return self.network(_tensor(batch).permute(0, 3, 1, 2))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each class, ``(N, classes)``."""
        found: Tensor = probabilities(self.output, logits, self.temperature)
        return found

    def predict(self, batch: Rows) -> list[list[Prediction]]:
        """The most likely classes of each row of a batch, best first.

        Raises:
            ValueError: the model returned NaN or infinity for one of them.
        """
        if len(batch) == 0:
            return []
        logits = self.logits(batch)
        # Ranked by logits: two that differ may have the same probability, and no temperature may
        # change a label.
        best = logits.topk(self.top_k).indices
        likely = self.probabilities(logits).gather(1, best)
        if not likely.isfinite().all():
            raise ValueError("the model returned numbers that are not finite")
        return [
            [Prediction(self.classes[i], p, i) for i, p in zip(numbers, found, strict=True)]
            for numbers, found in zip(best.tolist(), likely.tolist(), strict=True)
        ]

    def classify(self, images: Sequence[Pixels]) -> list[list[Prediction]]:
        """The most likely classes of each RGB image, best first."""
        batch = self.batch(len(images))
        self.prepare(images, batch)
        return self.predict(batch)


def _tensor(rows: Rows) -> Tensor:
    """The same memory; bits of bfloat16 as such."""
    tensor = torch.from_numpy(rows)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor
