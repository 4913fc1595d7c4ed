"""timm's classifiers: ``timm:convnext_atto``."""

from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from falconet.native.from_timm import arguments

from ..spec import Spec
from .model import ImportOptions, Model, made, unique, with_weights


def load(name: str, wanted: ImportOptions) -> Model:
    """A model that ``timm.create_model`` knows, preprocessed as its data configuration says.

    Raises:
        ValueError: it is preprocessed in a way that a spec does not state, see
            :func:`falconet.native.from_timm.arguments`.
    """
    timm, data = _library(name)
    network = timm.create_model(name, pretrained=wanted.published, **wanted.head)
    config: dict[str, Any] = data.resolve_model_data_config(network)
    own_size = tuple(config["input_size"][1:])
    size = wanted.size or own_size
    stated = arguments({**config, "input_size": (config["input_size"][0], *size)})
    count = network.num_classes
    names = data.ImageNetInfo().label_descriptions() if count == 1000 else []
    labels = unique([each.split(",")[0] for each in names]) or ("unnamed",)
    spec = wanted.stated(Spec(classes=labels, **stated))
    transform = data.create_transform(**config, is_training=False)

    def preprocess(image: Image.Image) -> Tensor:
        found: Tensor = transform(image)
        return found

    own = preprocess if size == own_size else None
    return made(with_weights(network, wanted, spec), spec, own, wanted)


def random(name: str, classes: int) -> nn.Module:
    """A model with random weights and as many outputs."""
    network: nn.Module = _library(name)[0].create_model(name, num_classes=classes)
    return network


def preprocessing(name: str) -> dict[str, Any]:
    """Fields of a spec, as the model's data configuration says."""
    timm, data = _library(name)
    with torch.device("meta"):
        network = timm.create_model(name)
    return arguments(data.resolve_model_data_config(network))


def published(name: str) -> Mapping[str, Tensor]:
    """The published weights; downloaded into ``$HF_HOME`` once."""
    network: nn.Module = _library(name)[0].create_model(name, pretrained=True)
    return network.state_dict()


def _library(name: str) -> tuple[Any, Any]:
    """The library and its ``data``, if it knows the model."""
    try:
        import timm
        from timm import data
    except ImportError as error:
        raise ModuleNotFoundError("timm: needs pip install timm") from error
    elsewhere = name.startswith(("hf-hub:", "hf_hub:", "local-dir:"))
    if not elsewhere and not timm.is_model(name.split(".")[0]):
        raise ValueError(f"timm has no model {name!r}; see timm.list_models()")
    return timm, data
