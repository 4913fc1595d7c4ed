"""Resizing one image."""

import warnings
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from . import _core
from .image import Image

Filter = Literal["box", "bilinear", "hamming", "bicubic", "lanczos"]
FILTERS: tuple[str, ...] = get_args(Filter)

Reference = Literal["pillow", "torch"]
REFERENCES: tuple[str, ...] = get_args(Reference)


def implementations() -> tuple[str, ...]:
    """The implementations of the arithmetic that this processor can run, the fastest first.

    ``"avx512"`` (with VNNI and VBMI), ``"avx2"``, ``"neon"``, and ``"scalar"``, which is plain C++
    and always there. All give the same bytes. The first is used, unless a caller or the environment
    variable ``FALCONET_IMPLEMENTATION`` names another.
    """
    return _core.implementations()


def renamed(reference: Reference) -> Reference:
    """The value of ``exact_as`` from a call that still names it ``reference``.

    Warns the caller of the function that calls this one.
    """
    warnings.warn(
        "reference= is now exact_as=, and will be removed", DeprecationWarning, stacklevel=3
    )
    return reference


def resize(
    image: Image,
    size: tuple[int, int],
    *,
    filter: Filter = "bilinear",
    exact_as: Reference = "pillow",
    implementation: str | None = None,
    reference: Reference | None = None,
) -> npt.NDArray[np.uint8]:
    """Resize an image exactly as Pillow 13's ``Image.resize`` does, to the last bit.

    Args:
        image: uint8, shape ``(height, width, channels)`` with 1, 3 or 4 channels, or
            ``(height, width)``. Any strides: ``bgr[..., ::-1]``, ``rgba[..., :3]`` and planes
            (``chw.transpose(1, 2, 0)``) are read as they are, others copied first. Four channels
            are four independent planes, as in Pillow's CMYK: an alpha channel does not weigh the
            others. Or a PIL image of as many channels of 8 bits; or what shares its memory by
            ``__array_interface__`` or DLPack, in the same order. Torch tensors of the CPU have
            their channels first, as torchvision.io gives them, unless only their last axis can be
            the channels.
        size: ``(height, width)`` of the result, in pixels.
        filter: one of :data:`FILTERS`. All of them antialias when shrinking.
        exact_as: the library whose resize is reproduced bit for bit: ``"pillow"``, or ``"torch"``
            for the bytes of
            ``torch.nn.functional.interpolate(..., antialias=True)`` on uint8 tensors, on a CPU with
            AVX2, and of torchvision's ``Resize`` on tensors; for models trained with those. It has
            no ``"box"`` and no ``"hamming"``, and sides of at most 65,536 pixels.
        implementation: one of :func:`implementations`, or ``None`` for the fastest.
        reference: deprecated, the earlier name of ``exact_as``.

    Returns:
        A new uint8 array of shape ``(height, width, channels)``, or ``(height, width)`` for a
        flat image, with as many channels as ``image``.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: a wrong shape or PIL mode, an empty image, a side over 16,777,216 pixels, an
            unknown filter, exact_as or implementation.
        MemoryError: the result does not fit.

    The arithmetic is that of ``src/libImaging/Resample.c`` in Pillow 13.0.0: 22-bit fixed-point
    weights, rounding to uint8 after each of the two passes, and the vertical pass first where the
    height shrinks by more than twice what the width does. torch's has weights of 16 bits, and the
    horizontal pass first always. Tested on x86-64, against both.
    """
    if reference is not None:
        exact_as = renamed(reference)
    return _core.resize(image, size, filter, exact_as, implementation)
