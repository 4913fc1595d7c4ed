"""Opening a model for use in this process, whatever form it is in."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from falconet.handler.classifier import Classifier
from falconet.model.export import export
from falconet.model.weights import PRETRAINED, Weights
from falconet.scoring.model import archive_precision, open_archive

MAX_PIXELS = 178_956_970  # of an image that is decoded in this process; Pillow's own limit


def load_weights(path: Path | None) -> Weights:
    """Weights of any recipe's network, or with ``None`` those that come with the package."""
    if path is None:
        return Weights.load(PRETRAINED)
    from falconet.training import recipes

    recipes.load_all()  # registers their networks
    return Weights.load(path)


@contextmanager
def open_classifier(source: Path | None) -> Iterator[Classifier]:
    """The classifier that would serve this model: same decoding, preprocessing and TorchScript.

    Args:
        source: an archive (``.mar``), a folder with ``model.pt`` and ``spec.json``, a weights file
            (``.pt``), or ``None`` for the weights that come with the package.
    """
    if source is not None and source.is_dir():
        yield Classifier(source)
        return
    if source is not None and source.suffix == ".mar":
        with open_archive(source, archive_precision(source), threads=0) as opened:
            yield opened.classifier
        return
    with tempfile.TemporaryDirectory(prefix="falconet-") as temporary:
        export(load_weights(source), Path(temporary))
        yield Classifier(Path(temporary))
