"""Opening a model for use in this process, whatever form it is in."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from falconet.handler.classifier import Classifier
from falconet.handler.fastest import available
from falconet.handler.network import Precision
from falconet.model.export import export
from falconet.model.weights import PRETRAINED, Weights

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
    precision: Precision = "auto"
    with tempfile.TemporaryDirectory(prefix="falconet-") as temporary:
        folder = Path(temporary)
        if source is not None and source.suffix == ".mar":
            if not zipfile.is_zipfile(source):
                raise ValueError(f"{source} is not an archive; make one with: falconet archive")
            with zipfile.ZipFile(source) as archive:
                archive.extractall(folder)
            config = yaml.safe_load((folder / "model-config.yaml").read_text(encoding="utf-8"))
            options = config.get("falconet", {})
            precision = options.get("precision", "auto")
            if precision == "auto" and "precisions" in options:
                precision = available(options["precisions"])[0]  # likely the one that is served
        else:
            export(load_weights(source), folder)
        yield Classifier(folder, precision=precision)
