"""A network with gradients, to see where it looks."""

import logging
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from falconet.native import Preprocessor
from falconet.native.data import Pixels
from falconet.native.decode import gray

from . import CLASS_HEADER
from .classifier import Classifier
from .errors import bad_request, quoted
from .explanation import Explanation
from .gradients import MIN_STEPS, integrated_gradients, too_slow
from .graph import forbid_tf32
from .network import load_script

logger = logging.getLogger(__name__)

# Height times width of a network's input: a response has a number for each pixel, 2 MB of JSON.
MAX_PIXELS = 512 * 512
# For all explanations that come in one batch, as predictions wait for them.
SECONDS = 2.0
# Labels that a message names.
NAMED = 5


class Explainer:
    """The TorchScript model of a classifier in float32, whatever the classifier computes in.

    What is explained is what the model returns for a class: the score before the softmax or the
    sigmoid where the spec says that it returns those, else the probability.

    Args:
        model: the TorchScript file; loaded when it is first needed, as few ask for explanations.
        classifier: with the model's preprocessing and labels.

    Raises:
        ValueError: the network's input has more than :data:`MAX_PIXELS` pixels.
    """

    def __init__(self, model: Path, classifier: Classifier) -> None:
        height, width = classifier.preprocess.size
        if height * width > MAX_PIXELS:
            raise ValueError(
                f"expected a network whose input has at most {MAX_PIXELS} pixels, to be explained; "
                f"this one's has {height} x {width}"
            )
        self._path, self._classifier = model, classifier
        self._preprocess = Preprocessor.from_spec(classifier.spec, threads=1)
        self._model: Any = None

    def load(self) -> None:
        """Load the model, if it is not loaded yet. A worker has one thread that asks: no lock.

        Raises:
            RuntimeError: it cannot be loaded.
        """
        if self._model is None:
            self._model = load_script(self._path, self._classifier.network.device)
            forbid_tf32(self._model.graph)
            logger.info("explanations in float32, of a model of its own")

    def explain(self, pixels: Pixels, label: str | None, deadline: float) -> Explanation:
        """Say which pixels speak for a class.

        Args:
            pixels: ``(height, width, 3)`` uint8, RGB, of any size.
            label: of the class, which may be percent-encoded; ``None`` for the best one.
            deadline: as ``perf_counter`` has it.

        Raises:
            RequestError: 400, there is no such class; 503, there is too little time.
            RuntimeError: the model has no gradients.
            ValueError: they are not finite.
        """
        try:
            return self._explain(pixels, label, deadline)
        finally:
            if self._classifier.network.device.type == "cuda":
                torch.cuda.empty_cache()  # gradients take far more than predictions

    def _explain(self, pixels: Pixels, label: str | None, deadline: float) -> Explanation:
        self.load()
        classifier = self._classifier
        wanted = None if label is None else _number(label, classifier.classes)
        if classifier.channels == 1:
            pixels = gray(pixels)
        image = torch.from_numpy(self._preprocess([pixels]))
        on_device = image.to(classifier.network.device)
        # As it is written: to optimize it takes longer than an explanation.
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            began = perf_counter()
            with torch.no_grad():
                scores = self._model(on_device.clone()).float().cpu()
            # A gradient takes at least as long, and cannot be stopped.
            if perf_counter() + MIN_STEPS * (perf_counter() - began) > deadline:
                raise too_slow()
            number = int(scores[0].argmax()) if wanted is None else wanted
            attributions, steps = integrated_gradients(
                lambda points: self._model(points)[:, number], on_device, deadline
            )
        if not attributions.isfinite().all():
            raise ValueError("the model's gradients are not finite")
        return Explanation(
            classifier.classes[number],
            float(classifier.probabilities(scores)[0, number]),
            steps,
            self._seen(image[0]),
            attributions[0].sum(0).numpy(),
        )

    def _seen(self, image: Tensor) -> npt.NDArray[np.uint8]:
        """The pixels that an image was before its normalization, without a lone channel."""
        mean, std = (
            torch.tensor(each)[:, None, None]
            for each in (self._preprocess.mean, self._preprocess.std)
        )
        pixels = (255 * (image * std + mean)).round().clamp(0, 255).byte()
        seen: npt.NDArray[np.uint8] = pixels.permute(1, 2, 0).squeeze(2).numpy()
        return np.ascontiguousarray(seen)


def _number(label: str, classes: Sequence[str]) -> int:
    """The number of the class that a client calls so."""
    for each in (label, unquote(label)):
        if each in classes:
            return classes.index(each)
    named = ", ".join(map(quoted, classes[:NAMED]))
    raise bad_request(
        f"{CLASS_HEADER}: expected one of the {len(classes)} labels of the model, such as {named}, "
        f"got {quoted(label)}"
    )
