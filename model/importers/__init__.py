"""Models from elsewhere: a file for each place, and a line for it here."""

from collections.abc import Callable
from pathlib import Path

from . import hf, python, timm, torchscript, torchvision
from .model import ImportOptions, Model

# By what stands before the colon; a path without one is a TorchScript file.
SOURCES: dict[str, Callable[[str, ImportOptions], Model]] = {
    "torchvision": torchvision.load,
    "timm": timm.load,
    "hf": hf.load,
    "python": python.load,
    "torchscript": torchscript.load,
}


def load(source: str, wanted: ImportOptions) -> Model:
    """A model, with its preprocessing and labels.

    Args:
        source: like ``torchvision:resnet18``, ``timm:convnext_atto``, ``hf:FOLDER``,
            ``python:package.module:function``, or the path of a TorchScript file.
        wanted: what its own configuration does not say, or says otherwise.

    Raises:
        ValueError: there is no such place or model, or it cannot be had exactly.
        ModuleNotFoundError: the library that knows it is not installed.
    """
    place, colon, name = source.partition(":")
    if colon and place in SOURCES:
        return SOURCES[place](name, wanted)
    if Path(source).is_file():
        return torchscript.load(source, wanted)
    places = ", ".join(f"{each}:NAME" for each in SOURCES if each != "torchscript")
    raise ValueError(f"expected the path of a TorchScript file, or one of {places}; got {source!r}")
