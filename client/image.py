"""Images as tensors of the Open Inference Protocol.

https://github.com/kserve/open-inference-protocol
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# A file by its path or content, or RGB pixels as a uint8 array of shape (height, width, 3).
Image = str | os.PathLike[str] | bytes | npt.NDArray[np.uint8]
LENGTH_BYTES = 4


def tensor(images: Sequence[Image]) -> tuple[dict[str, Any], bytes]:
    """One input with all images: its description, and its binary data.

    Args:
        images: at least one; either all files or all arrays of the same shape.

    Raises:
        OSError: a file cannot be read.
        TypeError, ValueError: there is no image, or something else than an image.
    """
    if not images:
        raise ValueError("expected at least one image")
    if any(isinstance(image, np.ndarray) for image in images):
        return _pixels(images)
    files = [_read(image) for image in images]
    data = b"".join(len(file).to_bytes(LENGTH_BYTES, "little") + file for file in files)
    return _described("BYTES", [len(files)], data), data


def _read(image: Image) -> bytes:
    if isinstance(image, bytes):
        return image
    if isinstance(image, (str, os.PathLike)):
        return Path(image).read_bytes()
    raise TypeError(
        "expected an image as a path, bytes or a uint8 array of shape (height, width, 3), got "
        f"{type(image).__name__}"
    )


def _pixels(images: Sequence[Image]) -> tuple[dict[str, Any], bytes]:
    arrays = [image for image in images if isinstance(image, np.ndarray)]
    if len(arrays) < len(images):
        raise TypeError("expected either files or arrays in one request, got both")
    first = arrays[0]
    for array in arrays:
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(
                "expected uint8 arrays of shape (height, width, 3), got "
                f"{array.dtype} of shape {array.shape}"
            )
        if array.shape != first.shape:
            raise ValueError(
                f"expected arrays of the same shape in one request, got {first.shape} and "
                f"{array.shape}"
            )
    data = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    return _described("UINT8", [len(arrays), *first.shape], data), data


def _described(datatype: str, shape: list[int], data: bytes) -> dict[str, Any]:
    return {
        "name": "image",
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": len(data)},
    }
