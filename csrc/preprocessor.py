"""From decoded images of any sizes to one normalized batch."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import index
from typing import Any, Literal, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt

from . import _core, from_hf, from_timm, from_torchvision
from .cores import available_cores
from .image import Image, list_of
from .resize import Filter, Reference, renamed

Layout = Literal["NCHW", "NHWC"]
DType = Literal["float32", "bfloat16"]
Fit = Literal["shorter", "longer"]
Crop = Literal["center", "center_floor"]

Images: TypeAlias = Sequence[Image] | Image
Out = TypeVar("Out")

# torchvision's normalization for models trained on ImageNet.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, init=False)
class Preprocessor:
    """Resize, crop and normalize images into a batch.

    Equal to torchvision's ``Resize``, ``CenterCrop``, ``ToTensor``, ``Normalize`` on PIL images:
    the resized bytes exactly, the normalized values to 1e-6 with the usual mean and std. With
    ``exact_as="torch"``, equal to the same on uint8 tensors. :meth:`from_torchvision`,
    :meth:`from_timm` and :meth:`from_hf` take over what a model of theirs expects.

    The arguments can be read as attributes, and not changed. Equal ones are of equal arguments. It
    can be pickled, as ``torch.utils.data.DataLoader`` does with those of its data sets; then
    ``threads=0`` and ``implementation=None`` are decided anew.

    Args:
        size: ``(height, width)`` of every image in the batch.
        resize: what the whole image is resized to, before its center is kept: ``None`` for
            ``size``, ``(height, width)``, or the length of one side, which the other follows in
            proportion.
        fit: which side has the length ``resize``. ``"shorter"``: the longer one is cut to whole
            pixels, as by torchvision's ``Resize``. ``"longer"``: the shorter one is rounded, halves
            to even, as by timm's ``ResizeKeepRatio(longest=1)``, but not to less than 1.
        crop: how the center is found where an odd number of pixels is left over. ``"center"``:
            halves round to even, and an odd pixel is padded after the image, as by torchvision's
            ``CenterCrop`` and timm's ``CenterCropOrPad``. ``"center_floor"``: halves round down,
            and an odd pixel is padded before, as by ``center_crop`` of
            ``transformers.image_transforms``.
        fill: what is padded where the resized image is smaller than ``size``: one byte (0 to
            255) for all channels, or one per channel.
        filter: see :func:`falconet.native.resize`.
        mean: one number per channel (1, 3 or 4), for pixels in the range 0 to 1.
        std: likewise.
        layout: of the batch: ``"NCHW"`` is ``(N, C, height, width)``, ``"NHWC"`` is
            ``(N, height, width, C)``.
        threads: how many threads share a batch, one image at a time. 0 is one for each core
            this process may use. A batch that reads and writes less than 1 MiB is not worth waking
            them up, and is done by the calling thread.
        dtype: of the batch: ``"float32"``, or ``"bfloat16"``, the nearest to it.
        exact_as: see :func:`falconet.native.resize`.
        implementation: one of :func:`falconet.native.implementations`, or ``None`` for the fastest.
        reference: deprecated, the earlier name of ``exact_as``.

    The normalized value of a byte is ``fma(byte, 1 / (255 * std), -mean / std)``, in float32.

    Raises:
        TypeError, ValueError: an argument that does not fit, named with what was expected.
    """

    size: tuple[int, int]
    resize: int | tuple[int, int] | None
    fit: Fit
    crop: Crop
    fill: tuple[int, ...]
    filter: Filter
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: Layout
    threads: int
    dtype: DType
    exact_as: Reference
    implementation: str
    _engine: _core.Preprocessor = field(init=False, repr=False, compare=False)
    # As they were given, before they were decided for this process.
    _given: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __init__(
        self,
        size: tuple[int, int],
        *,
        resize: int | tuple[int, int] | None = None,
        fit: Fit = "shorter",
        crop: Crop = "center",
        fill: int | Sequence[int] = 0,
        filter: Filter = "bilinear",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        layout: Layout = "NCHW",
        threads: int = 0,
        dtype: DType = "float32",
        exact_as: Reference = "pillow",
        implementation: str | None = None,
        reference: Reference | None = None,
    ) -> None:
        if reference is not None:
            exact_as = renamed(reference)
        means, stds = _numbers("mean", mean), _numbers("std", std)
        workers = available_cores() if threads == 0 else threads
        engine = _core.Preprocessor(
            size,
            resize,
            fit,
            crop,
            fill,
            filter,
            exact_as,
            means,
            stds,
            layout,
            dtype,
            workers,
            implementation,
        )
        self.__dict__.update(  # past what keeps others from setting them
            _engine=engine,
            _given={"threads": threads, "implementation": implementation},
            size=(int(size[0]), int(size[1])),
            resize=_side_or_sides(resize),
            fit=fit,
            crop=crop,
            fill=engine.fill,
            filter=filter,
            mean=means,
            std=stds,
            layout=layout,
            threads=workers,
            dtype=dtype,
            exact_as=exact_as,
            implementation=engine.implementation,
        )

    @classmethod
    def from_spec(
        cls,
        spec: Mapping[str, Any],
        *,
        threads: int = 0,
        layout: Layout = "NCHW",
        dtype: DType = "float32",
    ) -> "Preprocessor":
        """The preprocessing that a model's ``spec.json`` states.

        Training, evaluation and serving all come through here, so that they cannot differ; the
        layout and the dtype are how the same numbers lie in memory.

        Raises:
            ValueError: a field is missing, or asks for what this version does not know.
        """
        missing = {"size", "filter", "mean", "std"} - spec.keys()
        if missing:
            raise ValueError(f"spec: expected the field {min(missing)!r}, got {sorted(spec)}")
        return cls(
            size=tuple(spec["size"]),
            # Specs of earlier versions lack some of these, and have exact_as as reference.
            resize=spec.get("resize"),
            fit=spec.get("fit", "shorter"),
            crop=spec.get("crop", "center"),
            fill=spec.get("fill", 0),
            exact_as=spec.get("exact_as", spec.get("reference", "pillow")),
            filter=spec["filter"],
            mean=spec["mean"],
            std=spec["std"],
            layout=layout,
            threads=threads,
            dtype=dtype,
        )

    @classmethod
    def from_torchvision(
        cls,
        transform: Any,
        *,
        exact_as: Reference | None = None,
        threads: int = 0,
        layout: Layout = "NCHW",
        dtype: DType = "float32",
        reference: Reference | None = None,
    ) -> "Preprocessor":
        """What a torchvision transform does; see ``from_torchvision.arguments``."""
        if reference is not None:
            exact_as = renamed(reference)
        arguments = from_torchvision.arguments(transform, exact_as)
        return cls(**arguments, threads=threads, layout=layout, dtype=dtype)

    @classmethod
    def from_timm(
        cls,
        config: Mapping[str, Any],
        *,
        threads: int = 0,
        layout: Layout = "NCHW",
        dtype: DType = "float32",
    ) -> "Preprocessor":
        """What timm evaluates a model with; see ``from_timm.arguments``."""
        arguments = from_timm.arguments(config)
        return cls(**arguments, threads=threads, layout=layout, dtype=dtype)

    @classmethod
    def from_hf(
        cls,
        config: Any,
        *,
        exact_as: Reference | None = None,
        threads: int = 0,
        layout: Layout = "NCHW",
        dtype: DType = "float32",
        reference: Reference | None = None,
    ) -> "Preprocessor":
        """What an image processor of Hugging Face does; see ``from_hf.arguments``."""
        if reference is not None:
            exact_as = renamed(reference)
        arguments = from_hf.arguments(config, exact_as)
        return cls(**arguments, threads=threads, layout=layout, dtype=dtype)

    @overload
    def __call__(self, images: Images, out: None = None) -> npt.NDArray[Any]: ...

    @overload
    def __call__(self, images: Images, out: Out) -> Out: ...

    def __call__(self, images: Images, out: Any = None) -> Any:
        """Preprocess a batch; the GIL is released meanwhile.

        Args:
            images: a list of uint8 images as :func:`resize` takes them, each of its own size, with
                as many channels as ``mean``; or one array of shape
                ``(N, height, width, channels)``, a torch tensor ``(N, channels, height, width)`` as
                well.
            out: where to write: a C-contiguous NumPy array, torch CPU tensor (pinned as well), or
                other buffer, of the batch's shape and dtype.

        Returns:
            The batch: ``out`` itself, or a new array. NumPy has no bfloat16: its bits come as
            uint16, for ``torch.from_numpy(batch).view(torch.bfloat16)``, and an ``out`` that is no
            tensor has that dtype.

        Raises:
            TypeError, ValueError: an image or ``out`` does not fit. An image is named by its
                index, and nothing has been written then.
            MemoryError: there is not enough to work in; ``out`` may be partly written.
        """
        listed = list_of(images, len(self.mean))
        if out is None:
            return self._engine(listed, None)
        self._engine(listed, _shared_array(out))
        return out

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """What an image of this size is resized to, before the crop, as ``(height, width)``.

        Raises:
            ValueError: one side would be longer than 16,777,216 pixels; a batch with such a
                image is refused.
        """
        return self._engine.resized(height, width)

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        return _made, (type(self), {**arguments, **self._given})


def _made(kind: type[Preprocessor], arguments: dict[str, Any]) -> Preprocessor:
    return kind(**arguments)


def _side_or_sides(resize: int | Sequence[int] | None) -> int | tuple[int, int] | None:
    if resize is None:
        return None
    if isinstance(resize, (tuple, list)):
        return int(resize[0]), int(resize[1])
    return index(resize)  # type: ignore[arg-type]


def _numbers(name: str, values: Sequence[float]) -> tuple[float, ...]:
    try:
        if isinstance(values, str):
            raise TypeError
        return tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name}: expected one number per channel, got {values!r}") from None


def _shared_array(out: Any) -> npt.NDArray[Any]:
    """An array over the memory of ``out``, never a copy, which would lose the result."""
    if isinstance(out, np.ndarray):
        return out
    wanted = "out: expected an array, tensor or buffer"
    if str(getattr(out, "dtype", None)) == "torch.bfloat16":
        out = out.view(sys.modules["torch"].uint16)
    if hasattr(out, "__array__"):  # a torch tensor; one on a GPU raises here
        array = np.asarray(out)
        if not np.may_share_memory(array, np.asarray(out)):
            raise TypeError(f"{wanted}, got a {type(out).__name__}, which gives a copy of its data")
        return array
    try:
        return np.asarray(memoryview(out))
    except TypeError:
        raise TypeError(f"{wanted}, got {type(out).__name__}") from None
