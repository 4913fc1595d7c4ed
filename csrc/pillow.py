"""PIL images as arrays over the same memory.

Pillow packs an image's pixels into new memory for ``__array_interface__``, which takes ten times as
long as to preprocess them. By Arrow's C data interface it gives the memory itself, where an image
lies in one piece. It holds three channels in four bytes.
"""

import ctypes
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

# By the number of channels: which of Pillow's modes hold bytes of that many.
MODES = {1: ("L",), 3: ("RGB", "YCbCr", "HSV"), 4: ("RGBA", "CMYK", "RGBX", "RGBa")}
CHANNELS = {mode: channels for channels, modes in MODES.items() for mode in modes}
# Of an image that lies in several pieces, so much is copied at a time: Pillow's pieces are larger.
PIECE = 1 << 22


class ArrowArray(ctypes.Structure):
    """The struct of https://arrow.apache.org/docs/format/CDataInterface.html."""


ArrowArray._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(ArrowArray))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]
_pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


class _Pixels:
    """Pixels in Pillow's memory, kept by the capsule."""

    def __init__(self, capsule: Any, address: int, shape: tuple[int, ...]) -> None:
        self._capsule = capsule
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": shape,
            "data": (address, True),
        }


def is_image(image: Any) -> bool:
    """Whether it is a PIL image, which it cannot be where Pillow is not loaded."""
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(image, getattr(pil, "Image", ()))


def array_of(image: Any, channels: int, name: str) -> npt.NDArray[np.uint8]:
    """A PIL image as a read-only array ``(height, width, channels)``, or flat.

    Args:
        image: which is loaded first, if it is a file that was opened.
        channels: how many are expected; 0 is 1, 3 or 4.
        name: what to call it in an error.

    Raises:
        ValueError: its mode has other channels.
        OSError: it is a file that Pillow cannot load.
    """
    modes = MODES[channels] if channels else tuple(CHANNELS)
    if image.mode not in modes:
        wanted = modes[0] if channels else "RGB"
        raise ValueError(
            f"{name}: expected a PIL image of mode {wanted}, got mode {image.mode}; "
            f'image.convert("{wanted}") makes one'
        )
    image.load()
    whole = _shared(image)
    if whole is None and image.width * image.height > PIECE // 4:
        whole = _from_pieces(image)
    if whole is None:
        return np.asarray(image)
    return whole[..., : CHANNELS[image.mode]] if whole.ndim == 3 else whole


def _shared(image: Any) -> npt.NDArray[np.uint8] | None:
    """Pillow's own memory, with four bytes to a pixel or one; none where it is in pieces."""
    try:
        _, capsule = image.__arrow_c_array__()
    except (AttributeError, ValueError):  # in pieces
        return None
    array = ArrowArray.from_address(_pointer_of(capsule, b"arrow_array"))
    pixels = image.height * image.width
    shape: tuple[int, ...] = (image.height, image.width)
    if array.length != pixels or array.offset != 0 or array.null_count != 0:
        return None
    if array.n_children == 1:
        array = array.children[0].contents
        shape = (*shape, 4)
        if array.length != 4 * pixels or array.offset != 0:
            return None
    if array.n_buffers != 2 or array.n_children != 0:
        return None
    address = array.buffers[1]
    return None if address is None else np.asarray(_Pixels(capsule, address, shape))


def _from_pieces(image: Any) -> npt.NDArray[np.uint8] | None:
    """A copy, strip by strip."""
    copy: npt.NDArray[np.uint8] | None = None
    rows = max(1, PIECE // (4 * image.width))
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        strip = _shared(image.crop((0, top, image.width, bottom)))
        if strip is None:
            return None
        if copy is None:
            copy = np.empty((image.height, *strip.shape[1:]), np.uint8)
        copy[top:bottom] = strip
    return copy
