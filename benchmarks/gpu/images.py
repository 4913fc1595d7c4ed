"""A small data set of the repository's own images, for checks that need no other."""

from functools import cache
from pathlib import Path

from ..task import SAMPLES, SMALL, small_images

TEST = 128  # of the images


@cache
def labelled() -> tuple[tuple[bytes, str], ...]:
    """JPEG files of 32x32, and the class of each."""
    classes = [path.stem.partition("-")[2] for path in sorted(SAMPLES.iterdir())]
    return tuple((data, classes[i % len(classes)]) for i, data in enumerate(small_images()))


def write(folder: Path) -> Path:
    """Write them as a training and a test set, as training reads these; return the folder."""
    for i, (data, name) in enumerate(labelled()):
        split = "test" if i >= SMALL - TEST else "train"
        path = folder / split / name / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
