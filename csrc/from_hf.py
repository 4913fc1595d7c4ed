"""What an image processor of Hugging Face does, as arguments of a Preprocessor."""

from collections.abc import Mapping
from typing import Any

from .resize import Reference, renamed

# Those of other steps than these have a rule of their own, and are refused.
PROCESSORS = (
    "Beit", "Bit", "Blip", "CLIP", "ChineseCLIP", "ConvNext", "DeiT", "Levit", "MobileNetV1",
    "MobileNetV2", "Pvt", "Siglip", "ViT",
)  # fmt: skip
# Whose size is the shorter side where it is but a number.
SHORTER = ("Bit", "CLIP", "ChineseCLIP", "ConvNext", "Levit", "MobileNetV1", "MobileNetV2")
FILTERS = {1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
# From this size on, ConvNeXt's squashes.
SQUASHED = 384


def arguments(
    config: Any, exact_as: Reference | None = None, *, reference: Reference | None = None
) -> dict[str, Any]:
    """The arguments for ``Preprocessor`` that equal an image processor.

    Args:
        config: an image processor, what its ``to_dict()`` returns, or the contents of
            ``preprocessor_config.json``.
        exact_as: ``"pillow"`` for processors of the PIL backend (``ViTImageProcessorPil``),
            ``"torch"`` for those of torchvision's. ``None`` is what an image processor says of
            itself; for its contents, which do not say it, ``"torch"``, the default of
            transformers 5.
        reference: deprecated, the earlier name of ``exact_as``.

    Raises:
        TypeError: it is none of those.
        ValueError: a field is missing, or asks for what a Preprocessor cannot do: another
            resampling, padding, or steps that are not known.

    Follows ``image_processing_backends.py`` in transformers 5.24. Images are expected as they are
    after ``do_convert_rgb``.
    """
    if reference is not None:
        exact_as = renamed(reference)
    if not isinstance(config, Mapping):
        if not hasattr(config, "to_dict"):
            raise TypeError(
                "hf: expected an image processor, or its configuration as a dict, "
                f"got {type(config).__name__}"
            )
        backend = {"pil": "pillow", "torchvision": "torch"}.get(getattr(config, "backend", ""))
        return arguments(config.to_dict(), exact_as or backend)  # type: ignore[arg-type]
    kind = _kind(config)
    _refuse(config)
    exact_as = exact_as or "torch"
    mean, std = _normalization(config)
    return {
        "fit": "shorter",
        "crop": "center",
        "fill": 0,
        **_geometry(config, kind, exact_as),
        "filter": _filter(config),
        "mean": mean,
        "std": std,
        "exact_as": exact_as,
    }


def _kind(config: Mapping[str, Any]) -> str:
    name = config.get("image_processor_type") or config.get("feature_extractor_type")
    if name is None:
        return "ConvNext" if config.get("crop_pct") is not None else "ViT"
    kind = str(name)
    for end in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        kind = kind.removesuffix(end)
    if kind not in PROCESSORS:
        raise ValueError(
            f"hf: expected an image processor of {', '.join(PROCESSORS)}, whose steps are known, "
            f"got {name}"
        )
    return kind


def _refuse(config: Mapping[str, Any]) -> None:
    expected = {
        "do_resize": (True, "images of any size"),
        "do_pad": (False, "padding"),
        "do_flip_channel_order": (False, "channels in the order BGR; give bgr[..., ::-1]"),
        "do_thumbnail": (False, "thumbnails"),
        "rescale_offset": (False, "an offset"),
        "include_top": (False, "normalizing twice"),
        "do_color_quantize": (False, "colors by their clusters"),
    }
    for field, (wanted, what) in expected.items():
        value = config.get(field)
        if value is not None and bool(value) != wanted:
            raise ValueError(f"hf: expected {field} to be {wanted}, got {value!r}, for {what}")


def _field(config: Mapping[str, Any], name: str) -> Any:
    value = config.get(name)
    if value is None:
        raise ValueError(f"hf: expected the field {name!r}, got {sorted(config)}")
    return value


def _filter(config: Mapping[str, Any]) -> str:
    resample = int(_field(config, "resample"))
    if resample not in FILTERS:
        raise ValueError(
            "hf: expected resample to be 1 (lanczos), 2 (bilinear), 3 (bicubic), 4 (box) or "
            f"5 (hamming), got {resample}"
        )
    return FILTERS[resample]


def _normalization(
    config: Mapping[str, Any],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of pixels from 0 to 1, to which a byte times ``factor`` is in this proportion."""
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    if _is_set(config, "do_normalize", True):
        mean, std = _numbers(_field(config, "image_mean")), _numbers(_field(config, "image_std"))
    factor = 1.0
    if _is_set(config, "do_rescale", True):
        factor = float(config.get("rescale_factor") or 1 / 255)
    scale = 255 * factor
    if abs(scale - 1) < 1e-9:  # 0.00392156862745098, as it is written
        return mean, std
    return tuple(each / scale for each in mean), tuple(each / scale for each in std)


def _numbers(value: Any) -> tuple[float, ...]:
    if isinstance(value, (int, float)):
        return (float(value),) * 3
    return tuple(float(each) for each in value)


def _geometry(config: Mapping[str, Any], kind: str, exact_as: Reference) -> dict[str, Any]:
    resize = _resize(_field(config, "size"), kind, config.get("default_to_square"))
    if kind == "ConvNext":
        if not isinstance(resize, int):
            raise ValueError(f"hf: expected the size's shortest_edge, got {config['size']!r}")
        if config.get("do_center_crop"):
            raise ValueError("hf: expected ConvNext to crop by crop_pct alone, got do_center_crop")
        size = (resize, resize)
        if resize >= SQUASHED:
            return {"size": size, "resize": None}
        shorter = int(resize / float(_field(config, "crop_pct")))
        return {"size": size, "resize": shorter, "crop": "center_floor"}
    if kind == "Levit" and isinstance(resize, int):
        resize = int(256 / 224 * resize)
    if config.get("do_center_crop") is None and config.get("crop_size") is not None:
        raise ValueError("hf: expected the field 'do_center_crop' beside crop_size, got none")
    if not config.get("do_center_crop"):
        if isinstance(resize, int):
            raise ValueError(
                "hf: expected a size of height and width, or do_center_crop, without which images "
                f"have sizes of their own; got {config['size']!r}"
            )
        return {"size": resize, "resize": None}
    size = _crop_size(_field(config, "crop_size"))
    smallest = (resize, resize) if isinstance(resize, int) else resize
    if exact_as == "torch" and (smallest[0] < size[0] or smallest[1] < size[1]):
        raise ValueError(
            f"hf: expected a size of at least the crop's, {size[0]}x{size[1]}, got "
            f"{config['size']!r}: with torchvision, transformers pads in another way than it crops"
        )
    return {"size": size, "resize": resize, "crop": "center_floor"}


def _resize(size: Any, kind: str, to_square: bool | None) -> int | tuple[int, int]:
    if isinstance(size, int):
        if to_square is None:
            to_square = kind not in SHORTER
        return (size, size) if to_square else size
    if isinstance(size, (list, tuple)) and len(size) == 2:
        return int(size[0]), int(size[1])
    given = {name: n for name, n in dict(size).items() if n is not None}
    if given.keys() == {"height", "width"}:
        return int(given["height"]), int(given["width"])
    if given.keys() == {"shortest_edge"}:
        return int(given["shortest_edge"])
    raise ValueError(f"hf: expected a size of height and width, or of shortest_edge, got {size!r}")


def _crop_size(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    given = dict(size)
    if not {"height", "width"} <= given.keys():
        raise ValueError(f"hf: expected a crop_size of height and width, got {size!r}")
    return int(given["height"]), int(given["width"])


def _is_set(config: Mapping[str, Any], name: str, default: bool) -> bool:
    value = config.get(name)
    return default if value is None else bool(value)
