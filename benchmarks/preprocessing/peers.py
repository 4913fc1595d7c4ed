"""The libraries that turn an image into a normalized one, each used as its users do."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate
from torchvision import io, transforms
from torchvision.transforms import InterpolationMode, v2

from falconet.native import IMAGENET_MEAN, IMAGENET_STD

from .installed import cv2, kornia, pyvips
from .task import MEAN, SHORTER, SIDE, STD, Array, corner, on_pil, resized


@dataclass(frozen=True)
class Peer:
    """One way to do it, in steps that are measured together and apart.

    Attributes:
        prepare: from an array to what the library works on. Not measured: its decoder would give
            that at once.
        resize: to the whole image in bytes.
        normalize: crop and normalize that; in whatever order in memory the library leaves it.
        together: resize and normalize, where the library has one function for both.
        decode: from the bytes of a JPEG to what the library works on.
        note: what makes it an easier task than Pillow's.
    """

    name: str
    prepare: Callable[[Array], Any]
    resize: Callable[[Any], Any]
    normalize: Callable[[Any], Any]
    together: Callable[[Any], Any] | None = None
    decode: Callable[[bytes], Any] | None = None
    note: str = ""

    def process(self, image: Any) -> Any:
        """(3, 224, 224), float32."""
        if self.together:
            return self.together(image)
        return self.normalize(self.resize(image))

    def resized(self, image: Any) -> Any:
        """The whole image in bytes; libvips would only promise it."""
        small = self.resize(image)
        return small.numpy() if pyvips and isinstance(small, pyvips.Image) else small


def peers(size: tuple[int, int], filter: str) -> list[Peer]:
    """All that are installed, for images of this size (width, height)."""
    found = [on_images(filter), on_tensors(filter), on_tensors(filter, planar=True)]
    found += [with_interpolate(size, filter), with_numpy(size, filter)]
    if cv2:
        names = {
            "bilinear": ("INTER_AREA", "INTER_LINEAR"),
            "bicubic": ("INTER_CUBIC",),
            "lanczos": ("INTER_LANCZOS4",),
        }
        found += [with_opencv(size, name) for name in names[filter]]
    if pyvips:
        found.append(with_vips(size, filter))
    if kornia:
        found.append(with_kornia(size, filter))
    return found


def on_images(filter: str) -> Peer:
    steps = on_pil(filter).transforms
    return Peer(
        "torchvision on PIL",
        prepare=Image.fromarray,
        resize=steps[0],
        normalize=transforms.Compose(steps[1:]),
        decode=_open,
    )


def on_tensors(filter: str, planar: bool = False) -> Peer:
    """From torchvision's own decoder the channels of a pixel lie side by side, as in an array."""
    normalize = v2.Compose(
        [
            v2.CenterCrop(SIDE),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    return Peer(
        "torchvision v2 on planar tensors" if planar else "torchvision v2 on tensors",
        prepare=(lambda image: _tensor(image).contiguous()) if planar else _tensor,
        resize=v2.Resize(SHORTER, InterpolationMode(filter), antialias=True),
        normalize=normalize,
        decode=None if planar else lambda data: io.decode_jpeg(_encoded(data)),
    )


def with_interpolate(size: tuple[int, int], filter: str) -> Peer:
    target, (top, left) = resized(*size), corner(*size)
    scale = torch.from_numpy(1 / (255 * STD))[:, None, None]
    offset = torch.from_numpy(-MEAN / STD)[:, None, None]
    crop = np.s_[..., top : top + SIDE, left : left + SIDE]
    return Peer(
        "torch interpolate",
        prepare=lambda image: _tensor(image)[None],
        resize=lambda image: interpolate(image, target, mode=filter, antialias=True),
        normalize=lambda small: small[crop].float().mul_(scale).add_(offset)[0],
    )


def with_numpy(size: tuple[int, int], filter: str) -> Peer:
    height, width = resized(*size)
    crop = _crop(size)
    return Peer(
        "Pillow and NumPy",
        prepare=Image.fromarray,
        resize=lambda image: image.resize((width, height), Image.Resampling[filter.upper()]),
        normalize=lambda small: normalized(np.asarray(small)[crop]),
    )


def with_opencv(size: tuple[int, int], name: str) -> Peer:
    assert cv2
    height, width = resized(*size)
    crop, interpolation = _crop(size), getattr(cv2, name)
    color = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    return Peer(
        f"OpenCV {name}",
        prepare=np.asarray,
        resize=lambda image: cv2.resize(image, (width, height), interpolation=interpolation),
        normalize=lambda small: normalized(small[crop]),
        decode=lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), color),
        note="box filter" if name == "INTER_AREA" else "not antialiased",
    )


def with_vips(size: tuple[int, int], filter: str) -> Peer:
    assert pyvips
    (height, width), (top, left) = resized(*size), corner(*size)
    across, down = width / size[0], height / size[1]
    kernel = {"bilinear": "linear", "bicubic": "cubic", "lanczos": "lanczos3"}[filter]
    return Peer(
        "pyvips",
        prepare=pyvips.Image.new_from_array,
        # libvips computes what is asked of the result, and no more: the crop comes first.
        resize=lambda image: image.resize(across, vscale=down, kernel=kernel),
        normalize=lambda small: normalized(small.crop(left, top, SIDE, SIDE).numpy()),
        decode=lambda data: pyvips.Image.new_from_buffer(data, "", access="sequential"),
        note="first by a box filter" if across <= 0.25 else "",
    )


def with_kornia(size: tuple[int, int], filter: str) -> Peer:
    assert kornia
    target, crop = resized(*size), _crop(size)
    bilinear = filter == "bilinear"

    def normalize(small: Array) -> Array:
        return normalized_by_kornia(small[crop].copy())

    def together(image: Array) -> Array:
        whole = kornia.pipeline.resize_normalize_to_tensor(
            image, target, IMAGENET_MEAN, IMAGENET_STD
        )
        return np.ascontiguousarray(whole[:, crop[0], crop[1]])

    return Peer(
        "kornia-rs",
        prepare=np.asarray,
        resize=lambda image: kornia.imgproc.resize(image, target, filter, antialias=True),
        normalize=normalize,
        together=together if bilinear else None,
        decode=lambda data: kornia.io.decode_image_jpegturbo(data, "rgb"),
        note="not antialiased" if bilinear else "",
    )


def normalized(pixels: Array) -> Array:
    """As everyone writes it."""
    values = (pixels.astype(np.float32) / 255 - MEAN) / STD
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def normalized_by_kornia(pixels: Array) -> Array:
    """It wants mean and std in the range of bytes."""
    assert kornia
    values = kornia.imgproc.normalize_mean_std(pixels, tuple(255 * MEAN), tuple(255 * STD))
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def _crop(size: tuple[int, int]) -> tuple[slice, slice]:
    top, left = corner(*size)
    return slice(top, top + SIDE), slice(left, left + SIDE)


def _open(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGB")


def _tensor(image: Array) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


def _encoded(data: bytes) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy())
