"""What a network's numbers are, and the probabilities that they stand for."""

from typing import Any, Literal, get_args

Output = Literal["logits", "probabilities", "sigmoid"]
OUTPUTS: tuple[str, ...] = get_args(Output)
# Of temperatures. Beyond these, all probabilities are equal, or one class has all of it.
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.01, 100.0


def probabilities(output: str, numbers: Any, temperature: float = 1.0) -> Any:
    """The probability of each class.

    Args:
        output: ``"logits"`` go through a softmax: one class is right. ``"sigmoid"`` are logits of
            several labels at once, each by itself. ``"probabilities"`` are taken as they are.
        numbers: a torch tensor, ``(N, classes)``.
        temperature: that logits are divided by before the softmax.

    Raises:
        ValueError: an unknown output.
    """
    if output == "logits":
        return (numbers / temperature).softmax(1)
    if output == "sigmoid":
        return numbers.sigmoid()
    check_output(output)
    return numbers


def check_output(output: object, temperature: object = 1.0) -> None:
    """Make sure that an output is one of :data:`OUTPUTS`, and that a temperature fits it.

    Raises:
        ValueError: it is not.
    """
    if output not in OUTPUTS:
        raise ValueError(f"expected output to be one of {', '.join(OUTPUTS)}, got {output!r}")
    if (
        isinstance(temperature, bool)
        or not isinstance(temperature, int | float)
        or not LEAST_TEMPERATURE <= temperature <= MOST_TEMPERATURE
    ):
        raise ValueError(
            f"expected temperature to be a number from {LEAST_TEMPERATURE} to "
            f"{MOST_TEMPERATURE:g}, got {temperature!r}"
        )
    if temperature != 1 and output != "logits":
        raise ValueError(
            "expected a temperature only with output 'logits', which it divides before the "
            f"softmax, got {temperature} with {output!r}; leave it out"
        )
