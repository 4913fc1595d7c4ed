"""Images in an archive, with what the model is known to say of them."""

import base64
import io
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from falconet.native.formats import suffixes

FILE_NAME = "samples.json"
FOLDER = "samples"  # beside a model that is to be packed
FORMAT = 1
# Files that are read of a folder, which may be somebody's whole data.
MOST = 256


@dataclass(frozen=True)
class Sample:
    """An image and its answer, found when the archive was made.

    Attributes:
        image: the file's bytes.
        label: the most likely class.
        probability: of that class, computed in float32.
        made: whether the image is none of the model's own, but made for the trial.
    """

    image: bytes
    label: str
    probability: float
    made: bool = False


def png(pixels: npt.NDArray[np.uint8], **options: int) -> bytes:
    """An image as a file; options are Pillow's."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


def rotated_exif() -> Image.Exif:
    """The Exif of a photograph that has to be turned by 90 degrees, as phones store them."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return exif


def paths(folder: Path, formats: Sequence[str], most: int) -> list[Path]:
    """Image files of these formats in a folder and those below it, from the whole of it.

    Args:
        folder: if there is none, there are no files.
        formats: of :data:`falconet.native.formats.FORMATS`.
        most: how many at most.
    """
    kinds = suffixes(formats)
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in kinds)
    return found[:: max(1, math.ceil(len(found) / most))]


def in_folder(folder: Path, formats: Sequence[str], most: int = MOST) -> dict[str, bytes]:
    """The files of :func:`paths` by a name of their own."""
    chosen = paths(folder, formats, most)
    return {"-".join(path.relative_to(folder).parts): path.read_bytes() for path in chosen}


def keep(files: Mapping[str, bytes], folder: Path) -> None:
    """Write image files beside a model, in place of others, where ``archive`` looks for them."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    (folder / FOLDER).mkdir()
    for name, file in files.items():
        (folder / FOLDER / name).write_bytes(file)


def example() -> bytes:
    """A file with an image of nothing in particular."""
    return png(generated_images((64, 64), 1)[0])


def generated_images(size: tuple[int, int], count: int = 8) -> list[npt.NDArray[np.uint8]]:
    """Soft random colors, of several shapes around a model's ``(height, width)``, the same always.

    Returns:
        uint8, ``(height, width, 3)`` each.
    """
    random = np.random.default_rng(0)
    found = []
    for i in range(count):
        height, width = (max(1, round(side * random.uniform(0.8, 1.6))) for side in size)
        coarse = random.integers(0, 256, (3 + i % 32, 4 + i % 32, 3), np.uint8)
        resized = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        found.append(np.asarray(resized))
    return found


def to_json(samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "samples": [
            {
                "image": base64.b64encode(each.image).decode(),
                "label": each.label,
                "probability": each.probability,
                **({"made": True} if each.made else {}),
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
                # "picture" in archives that were made before version 1.0
                base64.b64decode(each.get("image") or each["picture"], validate=True),
                str(each["label"]),
                float(each["probability"]),
                bool(each.get("made", False)),
            )
            for each in content["samples"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{FILE_NAME}: {type(error).__name__}: {error}") from None
