"""timm's classifiers: ``timm:convnext_atto``."""

import math
from typing import Any

from PIL import Image
from torch import Tensor

from ..spec import Spec
from .model import Model, Wanted, made, unique, with_weights

FILTERS = ("bilinear", "bicubic", "lanczos")


def load(name: str, wanted: Wanted) -> Model:
    """A model that ``timm.create_model`` knows, preprocessed as its data configuration says.

    Raises:
        ValueError: it is preprocessed in a way that a spec does not state: by another filter, or
            in proportion to a size that is not square.
    """
    try:
        import timm
        from timm import data
    except ImportError as error:
        raise ModuleNotFoundError("timm: needs pip install timm") from error
    elsewhere = name.startswith(("hf-hub:", "hf_hub:", "local-dir:"))
    if not elsewhere and not timm.is_model(name.split(".")[0]):
        raise ValueError(f"timm has no model {name!r}; see timm.list_models()")
    network = timm.create_model(name, pretrained=wanted.published, **wanted.head)
    config: dict[str, Any] = data.resolve_model_data_config(network)
    own_size = tuple(config["input_size"][1:])
    size = wanted.size or own_size
    filter_, mode, share = config["interpolation"], config["crop_mode"], config["crop_pct"]
    if filter_ not in FILTERS:
        raise ValueError(f"timm:{name}: expected a filter of {', '.join(FILTERS)}, got {filter_!r}")
    # As timm.data.transforms_factory.transforms_imagenet_eval has it.
    scale = (math.floor(size[0] / share), math.floor(size[1] / share))
    resize: int | tuple[int, int] = scale[0]
    fill: int | tuple[int, ...] = 0
    if mode == "squash":
        resize = scale
    elif size[0] != size[1]:
        raise ValueError(
            f"timm:{name}: expected images to be resized in proportion to a square, or squashed, "
            f"got crop_mode={mode!r} for {size[0]}x{size[1]}"
        )
    elif mode == "border":
        fill = tuple(round(255 * each) for each in config["mean"])
    count = network.num_classes
    names = data.ImageNetInfo().label_descriptions() if count == 1000 else []
    spec = Spec(
        (size[0], size[1]),
        unique([each.split(",")[0] for each in names]) or ("unnamed",),
        resize=resize,
        fit="longer" if mode == "border" else "shorter",
        fill=fill,
        filter=filter_,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
    transform = data.create_transform(**config, is_training=False)

    def preprocess(picture: Image.Image) -> Tensor:
        found: Tensor = transform(picture)
        return found

    own = preprocess if size == own_size else None
    return made(with_weights(network, wanted, (3, *size)), spec, own, wanted)
