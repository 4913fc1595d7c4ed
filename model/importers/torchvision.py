"""torchvision's classifiers: ``torchvision:resnet18``, ``torchvision:resnet50:IMAGENET1K_V1``."""

from collections.abc import Mapping
from typing import Any

from PIL import Image
from torch import Tensor, nn

from falconet.native.from_torchvision import arguments

from ..spec import Spec
from .model import ImportOptions, Model, at_size, made, unique, with_weights
from .state import read_state


def load(name: str, wanted: ImportOptions) -> Model:
    """A model of torchvision.models, preprocessed as its published weights' ``transforms()``."""
    models, name, published = _find(name)
    options: dict[str, Any] = wanted.head
    if not wanted.published:
        if name in ("googlenet", "inception_v3"):
            # As networks are that were trained from the published weights.
            options |= {"init_weights": False, "transform_input": True}
        if name == "googlenet" and wanted.weights is not None:
            options["aux_logits"] = any(n.startswith("aux") for n in read_state(wanted.weights))
    network = models.get_model(name, weights=published if wanted.published else None, **options)
    transforms = published.transforms()
    stated = arguments(transforms)
    own_size = stated["size"]
    if wanted.size is not None:
        stated = at_size(stated, wanted.size)
    spec = wanted.stated(Spec(classes=unique(published.meta["categories"]), **stated))

    def preprocess(image: Image.Image) -> Tensor:
        found: Tensor = transforms(image)
        return found

    own = preprocess if spec.size == own_size else None
    return made(with_weights(network, wanted, spec), spec, own, wanted)


def random(name: str, classes: int) -> nn.Module:
    """A model with random weights and as many outputs."""
    models, name, _ = _find(name)
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        # Without what is only trained with, and scaling its input as the published weights expect.
        options = {"init_weights": True, "transform_input": True, "aux_logits": False}
    network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **options)
    return network


def preprocessing(name: str) -> dict[str, Any]:
    """Fields of a spec, as the published weights' ``transforms()``."""
    return arguments(_find(name)[2].transforms())


def published(name: str) -> Mapping[str, Tensor]:
    """The published weights; downloaded into ``$TORCH_HOME`` once.

    The library loads them: some files have names or shapes of an earlier version of it.
    """
    models, name, weights = _find(name)
    network: nn.Module = models.get_model(name, weights=weights, progress=False)
    return network.state_dict()


def _find(name: str) -> tuple[Any, str, Any]:
    """``torchvision.models``, the name of one of them, and its weights, of ``NAME[:WEIGHTS]``."""
    try:
        from torchvision import models
    except ImportError as error:
        raise ModuleNotFoundError("torchvision: needs pip install 'falconet[train]'") from error
    name, _, entry = name.partition(":")
    if name not in models.list_models(module=models):
        raise ValueError(
            f"torchvision has no classifier {name!r}; see torchvision.models.list_models()"
        )
    entries: Any = models.get_model_weights(name)
    if entry and entry not in entries.__members__:
        known = ", ".join(entries.__members__)
        raise ValueError(f"torchvision:{name}: expected one of {known}, got {entry!r}")
    return models, name, entries[entry] if entry else entries.DEFAULT
