"""Logits of the images of the checks, and whether two devices agree in them."""

import torch
from torch import Tensor

from falconet.handler.classifier import Classifier
from falconet.native.decode import decode

from . import images
from .steps import Figures

CLOSE = 0.1  # the order of closer logits may change by rounding
LEAST_AGREEMENT = 0.99
BATCH = 64


def logits(classifier: Classifier) -> Tensor:
    """``(N, classes)``, for all images, in batches as in serving."""
    pixels = [decode(data, 10**6) for data, _ in images.labelled()]
    found = []
    for start in range(0, len(pixels), BATCH):
        batch = classifier.batch(len(pixels[start : start + BATCH]))
        classifier.prepare(pixels[start : start + BATCH], batch)
        found.append(classifier.logits(batch))
    return torch.cat(found)


def compare(expected: Tensor, got: Tensor) -> Figures:
    """Whether logits name the same classes, except for those that are close to each other."""
    same = expected.argmax(1) == got.argmax(1)
    best = expected.topk(2).values
    far = best[:, 0] - best[:, 1] > CLOSE
    agreement = same.float().mean().item()
    return {
        "images": len(expected),
        "same": int(same.sum()),
        "largest_difference": (expected - got).abs().max().item(),
        "same_classes": bool(same[far].all()) and agreement >= LEAST_AGREEMENT,
    }
