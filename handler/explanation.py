"""Where a network looked, and how that is sent."""

import io
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import answer

PNG = "image/png"
# Of the strengths of all pixels, the one from which on a pixel is opaque: a few are far stronger.
FULL_PERCENTILE = 99
# What speaks for the class, and against it: apart for who sees red and green alike.
FOR, AGAINST = (230, 80, 0), (0, 90, 230)
DIGITS = 4


@dataclass(frozen=True)
class Explanation:
    """Of one image and one class.

    Attributes:
        label: the class.
        probability: of the class, computed in float32.
        steps: points at which gradients were taken.
        input: what the network saw, ``(height, width, 3)``, or ``(height, width)`` if it is gray,
            uint8.
        attributions: how much each pixel moved the score, ``(height, width)`` float32; below 0 what
            speaks against the class.
    """

    label: str
    probability: float
    steps: int
    input: npt.NDArray[np.uint8]
    attributions: npt.NDArray[np.float32]

    def overlay(self) -> npt.NDArray[np.uint8]:
        """To be laid over the input, ``(height, width, 4)`` RGBA: the color says for or against,
        alpha how strongly.
        """
        strengths = np.abs(self.attributions)
        full = np.percentile(strengths, FULL_PERCENTILE) or 1.0
        drawn = np.empty((*strengths.shape, 4), np.uint8)
        drawn[..., :3] = np.where(self.attributions[..., None] < 0, AGAINST, FOR)
        drawn[..., 3] = np.rint(255 * np.minimum(strengths / full, 1))
        return drawn

    def body(self, accept: str) -> answer.Body:
        """For a response.

        Args:
            accept: the request's header; the overlay alone is sent for ``image/png``.
        """
        accepted = {each.partition(";")[0].strip().lower() for each in accept.split(",")}
        if PNG in accepted and answer.CONTENT_TYPE not in accepted:
            return answer.Body(PNG, _png(self.overlay()))
        return answer.body(self._message())

    def _message(self) -> Mapping[str, Any]:
        numbers = self.attributions.ravel().tolist()
        return {
            "label": self.label,
            "probability": round(self.probability, 6),
            "precision": "float32",
            "steps": self.steps,
            "input": b64encode(_png(self.input)).decode(),
            "overlay": b64encode(_png(self.overlay())).decode(),
            "attributions": {
                "shape": list(self.attributions.shape),
                "data": [float(f"{number:.{DIGITS}g}") for number in numbers],
            },
        }


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
