"""What timm evaluates a model with, as arguments of a Preprocessor."""

import math
from collections.abc import Mapping
from typing import Any, get_args

from .resize import Filter


def arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for ``Preprocessor`` that equal timm's evaluation transform on PIL images.

    Args:
        config: what ``timm.data.resolve_model_data_config(model)`` returns: ``input_size``
            (channels, height, width), ``interpolation``, ``mean``, ``std``, ``crop_pct``, and
            ``crop_mode``: ``"center"``, ``"squash"`` or ``"border"``.

    Raises:
        ValueError: a field is missing, or asks for what a Preprocessor cannot do: another
            interpolation, or one length for an image that is not square.

    Follows ``transforms_imagenet_eval`` in ``timm/data/transforms_factory.py``, timm 1.0.31.
    """
    missing = {"input_size", "interpolation", "mean", "std", "crop_pct"} - config.keys()
    if missing:
        raise ValueError(
            f"timm: expected the field {min(missing)!r}, as resolve_model_data_config gives it, "
            f"got {sorted(config)}"
        )
    if config["interpolation"] not in get_args(Filter):
        raise ValueError(
            f"timm: expected an interpolation of {', '.join(get_args(Filter))}, "
            f"got {config['interpolation']!r}"
        )
    channels, *size = config["input_size"]
    mean, std = tuple(config["mean"]), tuple(config["std"])
    if len(mean) != channels or len(std) != channels:
        raise ValueError(
            f"timm: expected {channels} numbers in mean and std, as many as channels, "
            f"got {mean} and {std}"
        )
    return {
        "size": tuple(size),
        "fit": "shorter",
        "crop": "center",
        "fill": 0,
        **_geometry(tuple(size), config["crop_pct"], config.get("crop_mode") or "center", mean),
        "filter": config["interpolation"],
        "mean": mean,
        "std": std,
        "exact_as": "pillow",
    }


def _geometry(
    size: tuple[int, ...], share: float, mode: str, mean: tuple[float, ...]
) -> dict[str, Any]:
    height, width = (math.floor(side / share) for side in size)
    if mode == "squash":
        return {"resize": (height, width)}
    if height != width:
        raise ValueError(
            f"timm: expected a square for the crop mode {mode!r}, got {size[0]}x{size[1]}, for "
            "which timm resizes by one side or the other"
        )
    if mode == "border":
        return {
            "resize": height,
            "fit": "longer",
            "fill": tuple(round(255 * each) for each in mean),
        }
    if mode == "center":
        return {"resize": height}
    raise ValueError(f"timm: expected the crop mode 'center', 'squash' or 'border', got {mode!r}")
