"""What a network from elsewhere returns."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from falconet.native.output import Output

# Of the sum of probabilities, from 1.
MOST_OFF = 1e-3
# Operators that only give numbers another shape or dtype.
SHAPING = {
    "aten::flatten",
    "aten::reshape",
    "aten::view",
    "aten::squeeze",
    "aten::contiguous",
    "aten::to",
    "aten::float",
    "aten::type_as",
    "aten::dropout",
    "aten::detach",
}


class OneTensor(nn.Module):
    """A network that returns one tensor, ``(N, classes)``, whatever it was before.

    A tuple's, a named tuple's or a dict's first tensor counts, or what is called ``logits``. One
    number for each image, as of two classes by a sigmoid, is the second class's.
    """

    def __init__(self, network: nn.Module, output: Output) -> None:
        super().__init__()
        self.network = network
        self.output = output

    def forward(self, x: Tensor) -> Tensor:
        found = numbers(self.network(x), x)
        if found.shape[1] == 1:
            first = 1 - found if self.output == "probabilities" else torch.zeros_like(found)
            found = torch.cat([first, found], 1)
        return found


def numbers(output: object, images: Tensor) -> Tensor:
    """What a network says of each image, ``(N, numbers)`` float32.

    Raises:
        ValueError: there is no tensor in its output.
    """
    found: object = output
    if not isinstance(found, Tensor):
        found = getattr(output, "logits", None)
    if found is None and isinstance(output, dict):
        found = output.get("logits", next(iter(output.values()), None))
    if found is None and isinstance(output, tuple | list) and output:
        found = output[0]
    if not isinstance(found, Tensor):
        raise ValueError(
            "expected the model to return a tensor, or one in a tuple or a dict, got a "
            f"{type(output).__name__}"
        )
    return found.float().reshape(images.shape[0], -1)


def output_of(network: nn.Module, images: Tensor, found: Tensor) -> Output:
    """What a network's numbers are, by the operator that they come from, or by their values.

    Args:
        network: in evaluation mode.
        images: random ones.
        found: what the network says of them, ``(N, numbers)``.

    Raises:
        ValueError: it cannot be told: a single number from 0 to 1 may be either.
    """
    if _last_operator(network, images) in ("aten::softmax", "aten::sigmoid"):
        return "probabilities"
    positive = bool((found >= 0).all())
    if found.shape[1] > 1:
        shares = positive and bool(((found.sum(1) - 1).abs() < MOST_OFF).all())
        return "probabilities" if shares else "logits"
    if positive and bool((found <= 1).all()):
        raise ValueError(
            "expected to know whether the model's number is a logit or a probability, got numbers "
            f"from {float(found.min()):.2f} to {float(found.max()):.2f}; say so with --outputs"
        )
    return "logits"


def _last_operator(network: nn.Module, images: Tensor) -> str:
    """The operator that makes a network's numbers; empty where that cannot be followed."""
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # tracers warn of much
            wrapped = OneTensor(network, "logits").eval()
            traced: Any = torch.jit.freeze(torch.jit.trace(wrapped, images, check_trace=False))
            graph = traced.inlined_graph  # which its nodes do not keep
            node = next(graph.outputs()).node()
            # The first is the wrapper's own concatenation, where there is one number.
            if node.kind() == "aten::cat":
                node = list(next(node.inputs()).node().inputs())[-1].node()
            while node.kind() in SHAPING:
                node = next(node.inputs()).node()
            kind: str = node.kind()
            return kind
    except (RuntimeError, StopIteration, IndexError):
        return ""


def stated(output: Output, found: Tensor) -> str:
    """What a network returns, for a person."""
    if found.shape[1] == 1:
        kind = "a probability" if output == "probabilities" else "a logit"
        return f"one number for each image, {kind} of the second class"
    kinds = {
        "logits": "logits (one class for each image)",
        "sigmoid": "logits (several labels may be true at once)",
        "probabilities": "probabilities",
    }
    return f"{found.shape[1]} {kinds[output]}"
