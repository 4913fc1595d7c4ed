"""What a network's numbers are, and the probabilities that they stand for."""

from typing import Any, Literal, get_args

Output = Literal["logits", "probabilities", "sigmoid"]
OUTPUTS: tuple[str, ...] = get_args(Output)


def probabilities(output: str, numbers: Any) -> Any:
    """The probability of each class.

    Args:
        output: ``"logits"`` go through a softmax: one class is right. ``"sigmoid"`` are logits of
            several labels at once, each by itself. ``"probabilities"`` are taken as they are.
        numbers: a torch tensor, ``(N, classes)``.

    Raises:
        ValueError: an unknown output.
    """
    if output == "logits":
        return numbers.softmax(1)
    if output == "sigmoid":
        return numbers.sigmoid()
    check_output(output)
    return numbers


def check_output(output: object) -> None:
    """Make sure that an output is one of :data:`OUTPUTS`.

    Raises:
        ValueError: it is not.
    """
    if output not in OUTPUTS:
        raise ValueError(f"expected output to be one of {', '.join(OUTPUTS)}, got {output!r}")
