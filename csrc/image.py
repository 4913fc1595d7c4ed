"""Other libraries' images, as arrays over the same memory."""

import sys
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from . import pillow

Array: TypeAlias = npt.NDArray[Any]


class SharesArray(Protocol):
    """What describes its memory to NumPy, as Pillow's images do."""

    @property
    def __array_interface__(self) -> dict[str, Any]: ...


class SharesTensor(Protocol):
    """What describes its memory by DLPack, as torch's tensors and JAX's arrays do."""

    def __dlpack__(self, *, stream: Any = None) -> Any: ...

    def __dlpack_device__(self) -> tuple[Any, int]: ...


Image: TypeAlias = npt.NDArray[np.uint8] | SharesArray | SharesTensor


def array_of(image: Any, channels: int, name: str) -> Array:
    """An image that is no array, as one of shape ``(height, width, channels)`` or flat.

    Args:
        image: a PIL image, a torch tensor, or what has ``__array_interface__`` or ``__dlpack__``.
        channels: how many are expected; 0 is 1, 3 or 4.
        name: what to call it in an error.

    Raises:
        TypeError: it is none of those, or not in the CPU's memory.
        ValueError: a PIL image of another mode.
    """
    if _is_tensor(image):
        return _channels_last(_tensor_array(image, name), channels)
    if pillow.is_image(image):
        return pillow.array_of(image, channels, name)
    return _shared(image, name, f"a uint8 array of shape (height, width, {channels or 'channels'})")


def list_of(images: Any, channels: int) -> Sequence[Any]:
    """The images of a batch: a list as it is, or those of one array.

    Raises:
        TypeError: it is neither; the message says what was expected.
    """
    if isinstance(images, (list, tuple)):
        return images
    expected = (
        "images: expected a list of images or one array of shape "
        f"(N, height, width, {channels}), got "
    )
    if pillow.is_image(images):
        raise TypeError(f"{expected}one PIL image; write [image]")
    if isinstance(images, np.ndarray):
        array = images
    elif _is_tensor(images):
        array = _tensor_array(images, "images")
        if array.ndim == 4:
            array = _channels_last(array, channels)
    elif hasattr(images, "__array_interface__") or hasattr(images, "__dlpack__"):
        array = _shared(images, "images", "arrays")
    else:
        raise TypeError(f"{expected}{type(images).__name__}")
    if array.ndim != 4:
        hint = "; write [image] for one image" if array.ndim in (2, 3) else ""
        raise TypeError(f"{expected}one of shape {array.shape}{hint}")
    return list(array)


def _is_tensor(image: Any) -> bool:
    torch = sys.modules.get("torch")  # without it, nothing is a tensor of its
    return torch is not None and isinstance(image, getattr(torch, "Tensor", ()))


def _tensor_array(tensor: Any, name: str) -> Array:
    if tensor.device.type != "cpu":
        raise TypeError(
            f"{name}: expected a tensor in the CPU's memory, got one on {tensor.device}; "
            ".cpu() copies it"
        )
    if str(tensor.dtype) != "torch.uint8":
        raise TypeError(f"{name}: expected a tensor of torch.uint8, got {tensor.dtype}")
    return np.asarray(tensor.numpy())


def _channels_last(array: Array, channels: int) -> Array:
    """Torch's images have their channels first, unless only the last axis can be that."""
    possible = (channels,) if channels else (1, 3, 4)
    if array.ndim in (3, 4) and (array.shape[-3] in possible or array.shape[-1] not in possible):
        return np.moveaxis(array, -3, -1)
    return array


def _shared(image: Any, name: str, expected: str) -> Array:
    if hasattr(image, "__array_interface__"):
        return np.asarray(image)
    if not hasattr(image, "__dlpack__"):
        raise TypeError(
            f"{name}: expected {expected}, a PIL image or a tensor, got {type(image).__name__}"
        )
    try:
        return np.from_dlpack(image)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            f"{name}: expected memory of the CPU, got a {type(image).__name__} that NumPy cannot "
            f"share: {error}"
        ) from None
