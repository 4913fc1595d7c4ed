"""Accuracy and cross-entropy of a network on labelled images."""

from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from falconet.model.weights import Weights
from falconet.native.data import Pixels

from . import data
from .arithmetic import forbid_tf32
from .prepared import Normalize, prepare

BATCH = 1000
BATCH_PIXELS = BATCH * 32 * 32  # batches of larger images are smaller, to bound activations


class Score(NamedTuple):
    """Top-1 accuracy, from 0 to 1, and mean cross-entropy, without smoothing."""

    accuracy: float
    loss: float


@torch.inference_mode()
def logits(network: nn.Module, images: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
    """``(N, classes)`` float32 on the network's device, of images preprocessed by its spec.

    A network that begins with :class:`falconet.training.prepared.Normalize` takes prepared bytes.
    Images on another device are moved to the network's batch by batch.
    """
    network.eval()
    device = next(chain(network.parameters(), network.buffers())).device
    forbid_tf32()
    found = []
    for x in images.split(min(BATCH, max(1, BATCH_PIXELS // images[0, 0].numel()))):
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            found.append(network(x.to(device)).float())
    return torch.cat(found)


def answers(weights: Weights, dataset: data.Dataset) -> tuple[list[Pixels], Tensor]:
    """The images of a data set at the network's size, and their logits, as in serving."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = prepare(dataset, np.arange(len(dataset.labels)), weights.spec)
    network = nn.Sequential(Normalize(weights.spec), weights.network).to(device)
    return found.images, logits(network, found.pixels).cpu()


def score(
    network: nn.Module, images: Tensor, labels: Tensor, precision: torch.dtype = torch.float32
) -> Score:
    """The score for one view of each image, without test-time augmentation."""
    found = logits(network, images, precision)
    return score_of(found, labels.to(found.device))


def score_of(found: Tensor, labels: Tensor) -> Score:
    """The score of logits, ``(N, classes)``."""
    right = (found.argmax(1) == labels).sum().item()
    return Score(right / len(labels), F.cross_entropy(found, labels).item())
