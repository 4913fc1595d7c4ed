"""What a torchvision transform does, as arguments of a Preprocessor."""

from collections.abc import Iterator
from typing import Any

from .resize import Reference, renamed

# How torchvision crops and pads.
CENTER = {"fit": "shorter", "crop": "center", "fill": 0}
# Steps that make a tensor of bytes; the first takes nothing but PIL images.
TO_BYTES = ("PILToTensor", "ToImage")
# Those that leave an image as it is.
NOTHING = ("Identity", "ToPureTensor")


def arguments(
    transform: Any, exact_as: Reference | None = None, *, reference: Reference | None = None
) -> dict[str, Any]:
    """The arguments for ``Preprocessor`` that equal a transform of torchvision.

    Args:
        transform: ``weights.transforms()``, or a ``Compose`` (of ``transforms`` or
            ``transforms.v2``) or ``nn.Sequential`` of ``Resize``, ``CenterCrop``, a conversion
            (``ToTensor``, or ``PILToTensor`` or ``ToImage`` and ``ConvertImageDtype`` or
            ``ToDtype(scale=True)``), and ``Normalize``. There are as many channels as numbers in
            the mean: torchvision would spread a single one over all.
        exact_as: ``"pillow"`` where the transform is given PIL images, ``"torch"`` where it is
            given uint8 tensors. ``None``: by whether it resizes before it makes tensors; as
            Pillow where that does not tell.
        reference: deprecated, the earlier name of ``exact_as``.

    Raises:
        ValueError: a step that a Preprocessor cannot do, or in another order, or no fixed size; or
            tensors that are resized by ``transforms``, ``weights.transforms()`` among them, which
            turns them into floats first, where ``transforms.v2`` does not.

    Tested with torchvision 0.29.
    """
    if reference is not None:
        exact_as = renamed(reference)
    steps = list(_flat(transform))
    if [type(step).__name__ for step in steps] == ["ImageClassification"]:
        return _preset(steps[0], exact_as or "pillow")
    pipeline = _Pipeline()
    for step in steps:
        pipeline.add(step)
    return pipeline.arguments(exact_as)


def _preset(preset: Any, exact_as: Reference) -> dict[str, Any]:
    if exact_as == "torch":
        _refuse_floats(preset)
    return {
        "size": _pair(preset.crop_size),
        "resize": _side_or_sides(preset.resize_size),
        **CENTER,
        "filter": _filter(preset.interpolation),
        "mean": tuple(preset.mean),
        "std": tuple(preset.std),
        "exact_as": exact_as,
    }


class _Pipeline:
    """Takes steps one by one, in the order resize, crop, tensor of floats, normalize."""

    def __init__(self) -> None:
        self.resize: Any = None
        self.crop: Any = None
        self.normalize: Any = None
        self.tensor = False
        self.floats = False
        # What is resized, if the steps tell: a tensor, unless one is made afterwards.
        self.exact_as: Reference | None = "torch"

    def add(self, step: Any) -> None:
        name = type(step).__name__
        if name in NOTHING:
            return
        if name == "Resize" and self.resize is None and self.crop is None and not self.floats:
            self.resize = step
        elif name == "CenterCrop" and self.crop is None and not self.floats:
            self.crop = step
        elif name in (*TO_BYTES, "ToTensor") and not self.tensor and not self.floats:
            if self.resize is not None:
                self.exact_as = None if name == "ToImage" else "pillow"
            self.tensor = True
            self.floats = name == "ToTensor"
        elif name in ("ConvertImageDtype", "ToDtype") and not self.floats:
            _check_floats(step)
            self.floats = True
        elif name == "Normalize" and self.floats and self.normalize is None:
            self.normalize = step
        else:
            raise ValueError(
                "torchvision: expected Resize, CenterCrop, a conversion to floats and Normalize, "
                f"once each and in this order, got {step}"
            )

    def arguments(self, exact_as: Reference | None) -> dict[str, Any]:
        if self.resize is None or not self.floats:
            what = "a Resize" if self.resize is None else "a conversion to floats from 0 to 1"
            raise ValueError(f"torchvision: expected {what} among the steps, got none")
        known = self.exact_as
        if exact_as is not None and known is not None and exact_as != known:
            raise ValueError(
                f"torchvision: expected exact_as={known!r}, as the transform resizes "
                f"{'PIL images' if known == 'pillow' else 'tensors'}, got {exact_as!r}"
            )
        exact_as = exact_as or known or "pillow"
        if exact_as == "torch":
            _check_resize(self.resize)
        if getattr(self.resize, "max_size", None) is not None:
            raise ValueError(
                "torchvision: expected a Resize without max_size, "
                f"got max_size={self.resize.max_size}"
            )
        resize: int | tuple[int, int] | None = _side_or_sides(self.resize.size)
        if self.crop is not None:
            size = _pair(self.crop.size)
        elif isinstance(resize, tuple):
            size, resize = resize, None
        else:
            raise ValueError(
                "torchvision: expected a CenterCrop after a Resize to one number, "
                "without which images have sizes of their own"
            )
        mean: tuple[float, ...] = (0.0, 0.0, 0.0)
        std: tuple[float, ...] = (1.0, 1.0, 1.0)
        if self.normalize is not None:
            mean = tuple(float(each) for each in self.normalize.mean)
            std = tuple(float(each) for each in self.normalize.std)
        return {
            "size": size,
            "resize": resize,
            **CENTER,
            "filter": _filter(self.resize.interpolation),
            "mean": mean,
            "std": std,
            "exact_as": exact_as,
        }


def _flat(transform: Any) -> Iterator[Any]:
    name = type(transform).__name__
    if name == "Compose":
        steps = transform.transforms
    elif name == "Sequential":
        steps = transform
    else:
        yield transform
        return
    for step in steps:
        yield from _flat(step)


def _check_floats(step: Any) -> None:
    dtype, scale = step.dtype, getattr(step, "scale", True)
    if str(dtype) != "torch.float32" or not scale:
        raise ValueError(
            "torchvision: expected a conversion to torch.float32 that scales bytes to 0 to 1, "
            f"got {step}"
        )


def _check_resize(step: Any) -> None:
    """Of tensors, as bytes."""
    if ".v2" not in type(step).__module__:
        _refuse_floats(step)
    if not step.antialias:
        raise ValueError(
            "torchvision: expected antialias=True, without which tensors are resized by other "
            f"arithmetic, got antialias={step.antialias}"
        )


def _refuse_floats(step: Any) -> None:
    raise ValueError(
        "torchvision: expected the Resize of transforms.v2 for tensors, got that of "
        f"{type(step).__module__}, which resizes them as floats; give it PIL images, or v2 tensors"
    )


def _filter(interpolation: Any) -> str:
    name = str(getattr(interpolation, "value", interpolation))
    if name.startswith("nearest"):
        raise ValueError(
            f"torchvision: expected an interpolation with a filter, such as bilinear, got {name}"
        )
    return name


def _pair(size: Any) -> tuple[int, int]:
    numbers = tuple(size) if isinstance(size, (list, tuple)) else (size,)
    return (int(numbers[0]), int(numbers[-1]))


def _side_or_sides(size: Any) -> int | tuple[int, int]:
    if isinstance(size, (list, tuple)):
        return int(size[0]) if len(size) == 1 else (int(size[0]), int(size[1]))
    if not isinstance(size, int):
        raise ValueError(f"torchvision: expected a Resize to a size, got {size}")
    return size
