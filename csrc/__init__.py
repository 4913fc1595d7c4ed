"""Image preprocessing in C++: Pillow's resize, bit for bit, and normalization.

Imports nothing else of Falconet, so that a TorchServe worker loads only this and the handler.
"""

from importlib.metadata import version

from .cores import available_cores
from .preprocessor import IMAGENET_MEAN, IMAGENET_STD, Crop, Fit, Preprocessor
from .resize import FILTERS, REFERENCES, Filter, Reference, implementations, resize

__version__ = version("falconet")

__all__ = [
    "FILTERS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "REFERENCES",
    "Crop",
    "Filter",
    "Fit",
    "Preprocessor",
    "Reference",
    "__version__",
    "available_cores",
    "implementations",
    "resize",
]
