"""What a model from elsewhere comes with."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from ..spec import Spec

RANDOM_BATCHES = 4


@dataclass(frozen=True)
class Wanted:
    """What is said about a model on the command line.

    Attributes:
        weights: a file with its state; ``None`` takes those that its place publishes.
        random: no weights at all, to try what is not downloaded.
        size: ``(height, width)`` of its input, where it is not its own.
        labels: the label of each output, in order.
    """

    weights: Path | None = None
    random: bool = False
    size: tuple[int, int] | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """A model as it is where it comes from.

    Attributes:
        network: takes ``(N, C, height, width)`` float32; in evaluation mode.
        spec: the same preprocessing in our words.
        preprocess: its own: of an RGB picture to ``(C, height, width)`` float32; ``None`` where
            it is not known.
    """

    network: nn.Module
    spec: Spec
    preprocess: Callable[[Image.Image], Tensor] | None


def with_weights(network: nn.Module, wanted: Wanted, picture: tuple[int, int, int]) -> nn.Module:
    """The network, in evaluation mode, with the weights of a file, if one is named.

    Of a random one, norms are given statistics of random pictures: with their first ones it would
    say the same of all.

    Args:
        network: as its place made it.
        wanted: as above.
        picture: channels, height and width of what it takes.

    Raises:
        ValueError: the file's weights are not this network's.
    """
    if wanted.random:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for _ in range(RANDOM_BATCHES):
                network.train()(torch.randn(8, *picture, generator=generator))
    if wanted.weights is not None:
        state = torch.load(wanted.weights, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
        own = network.state_dict()
        unlike = [n for n in own if n not in state or own[n].shape != state[n].shape]
        if unlike or len(state) > len(own):
            raise ValueError(
                f"{wanted.weights}: expected the weights of this network, got others: "
                f"{len(unlike)} of its {len(own)} tensors are missing or of another shape, like "
                f"{unlike[:3]}"
            )
        network.load_state_dict(state)
    return network.eval()


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels in a file: a line for each, or JSON.

    JSON is a list, or an object of labels by number, as ``index_to_name.json`` and ``id2label``
    have it; where a label is a list itself, its last entry counts, as for TorchServe.

    Raises:
        ValueError: it is none of these.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        return unique([line.strip() for line in text.splitlines() if line.strip()])
    content = json.loads(text)
    if isinstance(content, dict):
        content = content.get("id2label", content.get("object_type_names", content))
    if isinstance(content, dict):
        try:
            content = [content[str(i)] for i in range(len(content))]
        except KeyError as error:
            raise ValueError(
                f"{path}: expected a label for each number, {error} is missing"
            ) from None
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a list of labels, or an object of them by number")
    return unique(
        [str(each[-1]) if isinstance(each, list) and each else str(each) for each in content]
    )


def unique(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels that are told apart: of those that are said twice, later ones get their number."""
    seen: set[str] = set()
    found = []
    for number, label in enumerate(labels):
        found.append(f"{label} ({number})" if label in seen else label)
        seen.add(label)
    return tuple(found)


class Logits(nn.Module):
    """A network that returns one tensor of logits, ``(N, classes)``, whatever it was before.

    A tuple's, a named tuple's or a dict's first tensor counts, or what is called ``logits``.
    ``(N, classes, 1, 1)`` is flattened. Of one number ``x`` per picture, as of two classes by a
    sigmoid, the logits are ``(0, x)``; of probabilities their logarithms: a softmax gives the same
    again.
    """

    def __init__(self, network: nn.Module, probabilities: bool = False) -> None:
        super().__init__()
        self.network = network
        self.probabilities = probabilities

    def forward(self, x: Tensor) -> Tensor:
        found = first_tensor(self.network(x)).flatten(1)
        if found.shape[1] == 1:
            found = torch.cat([torch.zeros_like(found), found], 1)
        if self.probabilities:
            found = found.clamp_min(1e-30).log()
        return found


def first_tensor(output: object) -> Tensor:
    """The tensor that an output is, or holds.

    Raises:
        ValueError: there is none.
    """
    if isinstance(output, Tensor):
        return output
    named = getattr(output, "logits", None)
    if named is None and isinstance(output, dict):
        named = output.get("logits", next(iter(output.values()), None))
    if named is None and isinstance(output, tuple | list) and output:
        named = output[0]
    if isinstance(named, Tensor):
        return named
    raise ValueError(
        f"expected the model to return a tensor, or one in a tuple or dict, got {output!r}"
    )


def unwrapped(network: nn.Module, channels: int, size: tuple[int, int]) -> Logits:
    """The network with one tensor of logits; probabilities are found by running it.

    Raises:
        ValueError: it cannot be run on pictures of this size.
    """
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(4, channels, *size, generator=generator)
    plain = Logits(network)
    try:
        with torch.inference_mode():
            found = plain(pictures)
    except RuntimeError as error:
        raise ValueError(f"the model cannot be run on {tuple(pictures.shape)}: {error}") from None
    sums = found.sum(1)
    shares = (
        found.shape[1] > 2 and bool((found >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all())
    )
    return Logits(network, probabilities=shares)


def made(
    network: nn.Module,
    spec: Spec,
    preprocess: Callable[[Image.Image], Tensor] | None,
    wanted: Wanted,
) -> Model:
    """The model, with labels that are as many as its outputs.

    Raises:
        ValueError: they are not.
    """
    logits = unwrapped(network, len(spec.mean), spec.size)
    with torch.inference_mode():
        outputs = logits(torch.zeros(1, len(spec.mean), *spec.size)).shape[1]
    labels = wanted.labels or (spec.classes if len(spec.classes) == outputs else ())
    if not labels and wanted.random:
        labels = tuple(f"class {i}" for i in range(outputs))
    if len(labels) != outputs:
        raise ValueError(
            f"expected labels for the model's {outputs} outputs, got {len(labels)}: name them with "
            "--labels FILE"
        )
    return Model(logits.eval(), replace(spec, classes=labels), preprocess)
