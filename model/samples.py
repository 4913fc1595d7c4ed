"""Pictures in an archive, with what the model is known to say of them."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE_NAME = "samples.json"
FORMAT = 1


@dataclass(frozen=True)
class Sample:
    """A picture and its answer, found when the archive was made.

    Attributes:
        picture: the file's bytes.
        label: the most likely class.
        probability: of that class, computed in float32.
    """

    picture: bytes
    label: str
    probability: float


def to_json(samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "samples": [
            {
                "picture": base64.b64encode(each.picture).decode(),
                "label": each.label,
                "probability": each.probability,
            }
            for each in samples
        ],
    }


def save(samples: Sequence[Sample], folder: Path) -> None:
    """Write ``samples.json`` into a folder."""
    (folder / FILE_NAME).write_text(json.dumps(to_json(samples)) + "\n", encoding="utf-8")


def from_json(content: Any) -> list[Sample]:
    """What :func:`to_json` gave.

    Raises:
        ValueError: it is something else.
    """
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {content['format']!r}")
        return [
            Sample(
                base64.b64decode(each["picture"], validate=True),
                str(each["label"]),
                float(each["probability"]),
            )
            for each in content["samples"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{FILE_NAME}: {type(error).__name__}: {error}") from None
