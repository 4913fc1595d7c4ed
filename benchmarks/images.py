"""Images that are the same in every run and cost a JPEG decoder what photographs cost."""

import io
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

SIZES = ((500, 375), (1920, 1080), (4032, 3024))  # width, height

NOISE = 5.0  # levels; a small camera's, indoors


@cache
def photograph(width: int, height: int) -> Pixels:
    """Smooth fields of falling octaves, with edges and a little noise: uint8 (height, width, 3)."""
    random = np.random.default_rng(width * 100_000 + height)
    light = 118 + 40 * _field(random, width, height, range(1, 10))
    # Photographs have edges. Where a field of its own is positive lies something brighter.
    light += 30 * (_field(random, width, height, range(2, 8)) > 0.2)
    light += NOISE * random.standard_normal((height, width), dtype=np.float32)
    red, blue = (25 * _field(random, width, height, range(1, 6)) for _ in range(2))
    image = np.stack([light + red, light - 0.5 * red - 0.2 * blue, light + blue], axis=-1)
    pixels: Pixels = np.rint(image).clip(0, 255).astype(np.uint8)
    return pixels


def photographs(count: int, width: int, height: int) -> list[Pixels]:
    """So many different ones, each in memory of its own."""
    if (width, height) == (32, 32):
        large = photograph(256, 256)
        return [
            large[32 * (i // 8) :, 32 * (i % 8) :][:32, :32].copy(order="C") for i in range(count)
        ]
    return [np.roll(photograph(width, height), 97 * i, axis=(0, 1)) for i in range(count)]


def jpeg(width: int, height: int) -> bytes:
    """A photograph's file."""
    return encode(photograph(width, height))


def encode(pixels: Pixels, quality: int = 90) -> bytes:
    """A JPEG as most cameras and sites have them: 4:2:0."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file.getvalue()


def _field(
    random: np.random.Generator, width: int, height: int, octaves: range
) -> npt.NDArray[np.float32]:
    """Values around 0, of a spread around 1; an octave is twice as fine, and weaker by a third."""
    field = np.zeros((height, width), np.float32)
    for octave in octaves:
        cells = 2**octave
        grid = random.standard_normal((cells + 1, cells + 1), dtype=np.float32)
        rows = _between(grid, height)
        field += _between(rows.T, width).T * np.float32(0.65 ** (octave - octaves[0]))
    return field


def _between(grid: npt.NDArray[np.float32], length: int) -> npt.NDArray[np.float32]:
    """Rows of a grid, and as many smoothly in between as make up the length."""
    at = np.linspace(0, len(grid) - 1, length, endpoint=False, dtype=np.float32)
    before = at.astype(int)
    share = (at - before)[:, None]
    share = share * share * (3 - 2 * share)
    rows: npt.NDArray[np.float32] = grid[before] * (1 - share) + grid[before + 1] * share
    return rows
