"""The result of one image."""

from typing import NamedTuple

UNREADABLE = 0  # status of a file that cannot be read, which may pass


def in_utf8(text: str) -> str:
    """A text that any format can hold: bytes of a file's name that are not UTF-8 become ``?``."""
    return text.encode(errors="replace").decode()


class Row(NamedTuple):
    """The result of one image.

    Attributes:
        key: of the image.
        label, probability: the most likely class; ``None`` if there is an error.
        labels, probabilities: the most likely classes, best first.
        error: why there is no prediction, as a server words it; ``None`` if there is one.
        status: the HTTP status of a server's response to the image; :data:`UNREADABLE`
            if it cannot be read.
    """

    key: str
    label: str | None
    probability: float | None
    labels: list[str]
    probabilities: list[float]
    error: str | None
    status: int

    @classmethod
    def failed(cls, key: str, error: str, status: int) -> "Row":
        """The row of an image without a prediction."""
        return cls(in_utf8(key), None, None, [], [], in_utf8(error), status)
