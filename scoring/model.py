"""A model's archive, opened in this process."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from falconet.handler.classifier import Classifier
from falconet.handler.fastest import available
from falconet.handler.precision import Precision
from falconet.native.budget import PIXELS

from .archive import archive_options


class Opened(NamedTuple):
    """A model as it is served.

    Attributes:
        classifier: of the model.
        max_pixels: of an image, as the archive says.
    """

    classifier: Classifier
    max_pixels: int


@contextmanager
def open_archive(archive: Path, precision: Precision, threads: int = 1) -> Iterator[Opened]:
    """Open an archive until the end of the context.

    Args:
        archive: a ``.mar`` file.
        precision: of the computation.
        threads: for preprocessing; 0 is one for each core.

    Raises:
        ValueError: it is not an archive of ``falconet archive``.
    """
    options = archive_options(archive)
    with tempfile.TemporaryDirectory(prefix="falconet-") as temporary:
        folder = Path(temporary)
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
        classifier = Classifier(folder, threads=threads, precision=precision)
        yield Opened(classifier, options.get("max_pixels", PIXELS))


def archive_precision(archive: Path) -> Precision:
    """The precision of an archive; if it lists several, probably the fastest on this CPU."""
    options = archive_options(archive)
    precision: Precision = options.get("precision", "auto")
    if precision == "auto" and "precisions" in options:
        return available(options["precisions"])[0]
    if precision == "int8":  # which the server does without as well, if the CPU cannot
        return available(["int8", *options.get("precisions", ("bfloat16", "float32"))])[0]
    return precision
