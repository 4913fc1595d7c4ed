"""A function of one's own that returns a network: ``python:package.module:function``."""

import importlib
import sys
from pathlib import Path

from torch import nn

from ..spec import Spec
from .model import ImportOptions, Model, made, with_weights

SIZE = (224, 224)


def load(name: str, wanted: ImportOptions) -> Model:
    """A network, preprocessed as is usual for ImageNet; its spec is there to be changed."""
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(f"expected python:MODULE:FUNCTION, got python:{name}")
    sys.path.insert(0, str(Path.cwd()))
    try:
        network = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"python:{name}: {error}") from error
    finally:
        sys.path.pop(0)
    if not isinstance(network, nn.Module):
        raise ValueError(f"python:{name}: expected a torch.nn.Module, got {type(network).__name__}")
    spec = usual(wanted)
    return made(with_weights(network, wanted, spec), spec, None, wanted)


def usual(wanted: ImportOptions) -> Spec:
    """Torchvision's preprocessing for models trained on ImageNet."""
    size = wanted.size or SIZE
    return wanted.stated(Spec(size, wanted.labels or ("unnamed",), resize=round(min(size) / 0.875)))
