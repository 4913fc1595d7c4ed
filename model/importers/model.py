"""What a model from elsewhere comes with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from falconet.native.output import Output

from ..spec import Spec
from .outputs import OneTensor, numbers, output_of, stated
from .state import read_state

RANDOM_BATCHES = 4
# Fields of a spec that change what a network is given.
PREPROCESSING = {"size", "resize", "fit", "crop", "fill", "filter", "mean", "std", "exact_as"}
PREPROCESSING |= {"reference"}  # the earlier name of exact_as


@dataclass(frozen=True)
class ImportOptions:
    """What is said about a model on the command line.

    Attributes:
        weights: a file with its state; ``None`` takes those that its place publishes.
        random: no weights at all, to try what is not downloaded.
        size: ``(height, width)`` of its input, where it is not its own.
        labels: the label of each output, in order.
        outputs: what they are, where that cannot be told from them.
        fields: of the spec, where its place does not state them, or states others.
    """

    weights: Path | None = None
    random: bool = False
    size: tuple[int, int] | None = None
    labels: tuple[str, ...] = ()
    outputs: Output | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def published(self) -> bool:
        """Whether the weights are those that its place publishes."""
        return self.weights is None and not self.random

    def stated(self, spec: Spec) -> Spec:
        """The spec with the fields that are said.

        Raises:
            ValueError, TypeError: they are no fields of a spec, or do not fit.
        """
        return spec.changed(self.fields)

    def returning(self, output: Output) -> "ImportOptions":
        """The same of a model that is known to return this."""
        return replace(self, outputs=output)

    @property
    def head(self) -> dict[str, int]:
        """What to make a network with, for as many classes as labels, if not as published."""
        return {} if self.published or not self.labels else {"num_classes": len(self.labels)}


@dataclass(frozen=True)
class Model:
    """A model as it is where it comes from.

    Attributes:
        network: takes ``(N, C, height, width)`` float32; in evaluation mode.
        spec: the same preprocessing in our words.
        preprocess: its own: of an RGB image to ``(C, height, width)`` float32; ``None`` where
            it is not known.
        returns: what it returns, in words.
    """

    network: nn.Module
    spec: Spec
    preprocess: Callable[[Image.Image], Tensor] | None
    returns: str


def with_weights(network: nn.Module, wanted: ImportOptions, spec: Spec) -> nn.Module:
    """The network, in evaluation mode, with the weights of a file, if one is named.

    A random one is made to say different things of different images: norms are given statistics,
    and last layers that begin with zeros other weights.

    Args:
        network: as its place made it.
        wanted: as above.
        spec: of what it takes.

    Raises:
        ValueError: the file's weights are not this network's.
    """
    network = network.to("cpu").float()
    if wanted.random:
        generator = torch.Generator().manual_seed(0)
        for layer in network.modules():
            if isinstance(layer, nn.Linear) and not layer.weight.any():
                nn.init.normal_(layer.weight, std=0.02, generator=generator)
        for _ in range(RANDOM_BATCHES):
            _run(network.train(), torch.randn(8, len(spec.mean), *spec.size, generator=generator))
    if wanted.weights is not None:
        state, own = read_state(wanted.weights), network.state_dict()
        unlike = [n for n in own if n not in state or own[n].shape != state[n].shape]
        unknown = [n for n in state if n not in own]
        if unlike or unknown:
            cure = (
                "import a function that makes your network, python:MODULE:FUNCTION"
                if wanted.labels
                else "where it has classes of its own, name them with --labels"
            )
            raise ValueError(
                f"{wanted.weights}: expected the weights of this network, got others: "
                f"{len(unlike)} of its {len(own)} tensors are missing or of another shape, "
                f"{unlike[:3]}, and {len(unknown)} are not its own, {unknown[:3]}; {cure}"
            )
        network.load_state_dict(state)
    return network.eval()


def _run(network: nn.Module, images: Tensor) -> object:
    """What a network returns.

    Raises:
        ValueError: it cannot be run.
    """
    try:
        with torch.no_grad():
            return network(images)
    except Exception as error:  # whatever a network raises
        raise ValueError(
            f"the model cannot be run on {tuple(images.shape)}: {type(error).__name__}: {error}; "
            "if it takes another size, name it with --size"
        ) from error


def unique(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels that are told apart: of those that are said twice, later ones get their number."""
    seen: set[str] = set()
    found = []
    for number, label in enumerate(labels):
        found.append(f"{label} ({number})" if label in seen else label)
        seen.add(label)
    return tuple(found)


def at_size(fields: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Fields of a spec for an input of ``(height, width)``, with ``resize`` in proportion."""
    own, resize = fields["size"], fields["resize"]
    if size == own:
        return {**fields}
    if isinstance(resize, int):
        resize = round(resize * min(size) / min(own))
    elif resize is not None:
        resize = tuple(round(r * s / o) for r, s, o in zip(resize, size, own, strict=True))
    return {**fields, "size": size, "resize": resize}


def made(
    network: nn.Module,
    spec: Spec,
    preprocess: Callable[[Image.Image], Tensor] | None,
    wanted: ImportOptions,
) -> Model:
    """The model, with one tensor of numbers, and labels that are as many.

    Raises:
        ValueError: they are not, or it cannot be run on images of this size.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, len(spec.mean), *spec.size, generator=generator)
    found = numbers(_run(network, images), images)
    output = wanted.outputs or output_of(network, images, found)
    returns = stated(output, found)
    outputs = max(2, found.shape[1])
    if found.shape[1] == 1 and output == "sigmoid":
        output = "logits"  # a softmax of (0, x) is the sigmoid of x
    labels = wanted.labels or (spec.classes if len(spec.classes) == outputs else ())
    if not labels and wanted.random:
        labels = tuple(f"class {i}" for i in range(outputs))
    if len(labels) != outputs:
        raise ValueError(
            f"expected labels for the model's {outputs} outputs, got {len(labels)}: name them with "
            "--labels FILE"
        )
    # That of a file's weights may have been another, and what is said is another.
    known = wanted.weights is None and not PREPROCESSING & wanted.fields.keys()
    own = preprocess if known else None
    made_spec = replace(spec, classes=labels, output=output)
    return Model(OneTensor(network, output).eval(), made_spec, own, returns)
