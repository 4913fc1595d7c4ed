"""Image files that are not as they should be, of every format."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

Random = np.random.Generator

# What is meant to be read, and what is not.
SAVED: Sequence[tuple[str, str, dict[str, Any]]] = (
    ("RGB", "JPEG", {}),
    ("RGB", "JPEG", {"progressive": True}),
    ("L", "JPEG", {}),
    ("CMYK", "JPEG", {}),
    ("RGB", "PNG", {}),
    ("P", "PNG", {"transparency": 3}),
    ("RGBA", "PNG", {}),
    ("I;16", "PNG", {}),
    ("1", "PNG", {}),
    ("RGB", "WEBP", {}),
    ("RGBA", "WEBP", {"lossless": True}),
    ("P", "GIF", {}),
    ("RGB", "BMP", {}),
    ("P", "BMP", {}),
    ("RGB", "TIFF", {}),
    ("RGB", "ICO", {}),
    ("RGB", "PPM", {}),
    ("RGB", "TGA", {}),
    ("RGB", "PCX", {}),
)
MAGICS = (
    b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\x00\x10JFIF", b"\x89PNG\r\n\x1a\n", b"RIFF\xff\xff\xff\xff"
    b"WEBP", b"RIFF\x1a\0\0\0WEBPVP8L", b"RIFF\x1a\0\0\0WEBPVP8X", b"GIF89a", b"GIF87a", b"BM",
    b"II*\0", b"MM\0*", b"\0\0\1\0", b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    b"PK\3\4", b"\x7fELF", b"\x1f\x8b\x08", b"\0\0\0\x1cftypavif", b"\0\0\0\x0cjP  ", b"\xff\x0a",
)  # fmt: skip
# Sides that headers declare. The first is within the pixels that a server takes.
SIDES = (7_000, 20_000, 65_535, 2**31 - 1, 2**32 - 1, 0, 1)
NEAR_BEGINNING = 200  # bytes, where headers are


def seeds(random: Random) -> list[bytes]:
    """A whole image of each kind, to be damaged."""
    pixels = random.integers(0, 256, (12, 16, 3), np.uint8)
    image = Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC)
    files = []
    for mode, kind, options in SAVED:
        file = io.BytesIO()
        gray = image.convert("L")
        source = Image.fromarray(np.asarray(gray).astype(np.uint16) << 8)
        converted = source if mode == "I;16" else image.convert(mode)
        converted.save(file, kind, **options)
        files.append(file.getvalue())
    frames = io.BytesIO()
    turned = [image.rotate(angle) for angle in (90, 180)]
    image.save(frames, "GIF", save_all=True, append_images=turned)
    files.append(frames.getvalue())
    return files


def damaged(files: list[bytes], random: Random) -> bytes:
    """One of the files, or none at all, damaged in some way."""
    if random.random() < 0.3:
        return _made(random)
    data = bytearray(files[random.integers(len(files))])
    for _ in range(random.integers(1, 4)):
        change = CHANGES[random.integers(len(CHANGES))]
        data = change(data, random)
    return bytes(data)


def _place(data: bytearray, random: Random) -> int:
    """Half of the time among the headers."""
    end = min(len(data), NEAR_BEGINNING) if random.random() < 0.5 else len(data)
    return int(random.integers(max(1, end)))


def _truncate(data: bytearray, random: Random) -> bytearray:
    return data[: _place(data, random)]


def _flip(data: bytearray, random: Random) -> bytearray:
    for _ in range(random.integers(1, 30)):
        if data:
            data[_place(data, random) % len(data)] ^= 1 << random.integers(8)
    return data


def _overwrite(data: bytearray, random: Random) -> bytearray:
    at = _place(data, random)
    filling = (random.bytes(8), b"\0" * 8, b"\xff" * 8, b"\x7f\xff\xff\xff")[random.integers(4)]
    data[at : at + len(filling)] = filling
    return data


def _insert(data: bytearray, random: Random) -> bytearray:
    at = _place(data, random)
    data[at:at] = random.bytes(int(random.integers(1, 100)))
    return data


def _remove(data: bytearray, random: Random) -> bytearray:
    at = _place(data, random)
    del data[at : at + random.integers(1, 100)]
    return data


def _repeat(data: bytearray, random: Random) -> bytearray:
    at = _place(data, random)
    return data[:at] + data[at : at + 500] * int(random.integers(2, 50)) + data[at:]


def _redeclare(data: bytearray, random: Random) -> bytearray:
    """Other sides in the header, for formats where they are easily found."""
    width, height = (SIDES[random.integers(len(SIDES))] for _ in range(2))
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 33:
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif data[:3] == b"GIF" and len(data) > 10:
        data[6:10] = struct.pack("<HH", width & 0xFFFF, height & 0xFFFF)
    elif data[:2] == b"BM" and len(data) > 26:
        data[18:26] = struct.pack("<II", width, height)
    elif data[:2] == b"\xff\xd8":
        for marker in (b"\xff\xc0", b"\xff\xc2"):
            at = data.find(marker)
            if 0 < at < len(data) - 9:
                data[at + 5 : at + 9] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    elif data[12:16] == b"VP8 " and len(data) > 30:
        data[26:30] = struct.pack("<HH", width & 0x3FFF, height & 0x3FFF)
    return data


CHANGES: tuple[Callable[[bytearray, Random], bytearray], ...] = (
    _truncate, _flip, _overwrite, _insert, _remove, _repeat, _redeclare,
)  # fmt: skip


def _made(random: Random) -> bytes:
    """Made from nothing."""
    kind = random.integers(6)
    if kind == 0:
        return b""
    if kind == 1:
        return random.bytes(int(random.integers(1, 2000)))
    if kind == 2:
        return MAGICS[random.integers(len(MAGICS))] + random.bytes(int(random.integers(200)))
    if kind == 3:
        width, height = (SIDES[random.integers(len(SIDES))] for _ in range(2))
        return png(width, height, b"")
    return bomb() if kind == 4 else comment()


@cache
def bomb() -> bytes:
    """More data than its sides need."""
    return png(16, 16, zlib.compress(bytes(4_000_000), 9))


@cache
def comment() -> bytes:
    """The same beside its pixels."""
    text = b"comment\0\0" + zlib.compress(bytes(8_000_000), 9)
    return png(16, 16, zlib.compress(bytes(16 * 49)), chunk(b"zTXt", text))


@cache
def black(side: int = SIDES[0], depth: int = 8, color: int = 2) -> bytes:
    """Small as a file, and just within the pixels that a server takes: work for a second."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    row = b"\0" + bytes(side * samples * depth // 8)
    packer = zlib.compressobj(9)
    pieces = [packer.compress(row) for _ in range(side)]
    return png(side, side, b"".join([*pieces, packer.flush()]), depth=depth, color=color)


def chunk(kind: bytes, body: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, data: bytes, *more: bytes, depth: int = 8, color: int = 2
) -> bytes:
    """With more chunks before its data; of a depth in bits, and a PNG's kind of color."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *more, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
