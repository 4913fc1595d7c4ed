"""Decoding against Pillow's own open(...).convert("RGB")."""

import io
import struct
import warnings
import zlib
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from falconet.handler import decode as decode_module
from falconet.handler.decode import decode
from falconet.handler.errors import RequestError

MAX_PIXELS = 1_000_000


def pillow(data: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Palette images with Transparency")
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def png(width: int, height: int, depth: int, color_type: int, rows: bytes) -> bytes:
    """A PNG of a kind that Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def photo(mode: str = "RGB", height: int = 61, width: int = 83) -> Image.Image:
    random = np.random.default_rng(3)
    coarse = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


OWN = sorted(
    path.name
    for path in (Path(__file__).parent.parent / "pictures").iterdir()
    if path.suffix not in (".py", "") and path.is_file()
)


@pytest.mark.parametrize("name", OWN)
def test_our_pictures(pictures: Path, name: str) -> None:
    data = (pictures / name).read_bytes()
    np.testing.assert_array_equal(decode(data, MAX_PIXELS), pillow(data), strict=True)


def test_the_cifar_samples(samples: list[Path]) -> None:
    for path in samples:
        data = path.read_bytes()
        np.testing.assert_array_equal(decode(data, MAX_PIXELS), pillow(data), strict=True)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [30, 90])
def test_jpeg(subsampling: str, progressive: bool, quality: int) -> None:
    data = saved(photo(), "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    np.testing.assert_array_equal(decode(data, MAX_PIXELS), pillow(data), strict=True)


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("1", "PNG"),
        ("L", "PNG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("RGBA", "PNG"),
        ("RGBA", "WEBP"),
        ("P", "GIF"),
        ("1", "BMP"),
        ("L", "BMP"),
    ],
)
@pytest.mark.parametrize("strip", [decode_module.STRIP, 1000, 1])
def test_color_modes(mode: str, format: str, strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module, "STRIP", strip)
    data = saved(photo(mode), format)
    np.testing.assert_array_equal(decode(data, MAX_PIXELS), pillow(data), strict=True)


def test_of_16_bits_a_channel_the_high_ones_are_kept() -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (5, 7, 3), np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    data = png(7, 5, 16, 2, rows)
    np.testing.assert_array_equal(decode(data, MAX_PIXELS), (values >> 8).astype(np.uint8))
    np.testing.assert_array_equal(decode(data, MAX_PIXELS), pillow(data))


def test_orientation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees
    data = saved(photo(), "JPEG", exif=exif)
    assert decode(data, MAX_PIXELS).shape == (61, 83, 3)


def test_of_an_animation_the_first_frame(pictures: Path) -> None:
    data = (pictures / "ship-animated.gif").read_bytes()
    image = Image.open(io.BytesIO(data))
    image.seek(1)
    second = np.asarray(image.convert("RGB"))
    assert (decode(data, MAX_PIXELS) != second).any()


def test_damage_that_leaves_a_whole_jpeg_passes_as_in_pillow() -> None:
    """A wrong byte among the coefficients: the strict fast path refuses it, Pillow does not."""
    data = bytearray(saved(photo(), "JPEG"))
    data[len(data) * 2 // 3] ^= 0xFF
    with pytest.raises(ValueError, match="Corrupt JPEG data"):
        simplejpeg.decode_jpeg(data)
    np.testing.assert_array_equal(decode(data, MAX_PIXELS), pillow(data))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("name", ["ship.jpg", "ship.bmp"])
def test_any_buffer(pictures: Path, name: str, kind: type) -> None:
    data = (pictures / name).read_bytes()
    np.testing.assert_array_equal(decode(kind(data), MAX_PIXELS), pillow(data))


HUGE = png(20_000, 20_000, 8, 2, b"")
JPEG = saved(photo(), "JPEG")
PNG = saved(photo(), "PNG")


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        (b"", HTTPStatus.BAD_REQUEST, "got an empty body"),
        (
            b"hello, world",
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            r"12 bytes that begin with b'hello, w",
        ),
        (b"\xff\xd8\xff", HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "JPEG, PNG, WEBP, GIF, BMP"),
        (JPEG[: len(JPEG) // 2], HTTPStatus.UNPROCESSABLE_ENTITY, "cannot be decoded: .*truncated"),
        (PNG[: len(PNG) // 2], HTTPStatus.UNPROCESSABLE_ENTITY, "cannot be decoded"),
        (PNG[:60] + b"junk" + PNG[64:], HTTPStatus.UNPROCESSABLE_ENTITY, "cannot be decoded"),
        (HUGE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "400000000 pixels.*exceeds limit"),
        (
            saved(photo(height=1001, width=1000), "JPEG"),
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "got 1000 x 1001 = 1001000; scale it down",
        ),
        (
            saved(Image.fromarray(np.zeros((4, 4), np.uint16)), "PNG"),
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "16-bit grayscale",
        ),
        (saved(photo(), "TIFF"), HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected a picture in one of"),
        (saved(photo(), "PPM"), HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected a picture in one of"),
    ],
    ids=lambda value: value.name if isinstance(value, HTTPStatus) else "",
)
def test_what_is_wrong_is_said(data: bytes, status: HTTPStatus, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        decode(data, MAX_PIXELS)
    assert caught.value.status == status


def test_the_header_decides_before_any_pixel_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has no pixels at all: an error about its size comes from the header."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as a worker does
    with pytest.raises(RequestError, match="got 20000 x 20000 = 400000000"):
        decode(HUGE, 399_999_999)
    empty = png(2000, 1000, 8, 2, b"")
    with pytest.raises(RequestError, match="got 2000 x 1000 = 2000000"):
        decode(empty, 1_999_999)
    with pytest.raises(RequestError, match="cannot be decoded"):
        decode(empty, 2_000_000)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    """Its last scan said again and again: 60 ms a time for 7000 x 7000 pixels."""
    data = saved(photo("L"), "JPEG", progressive=True)
    assert decode(data, MAX_PIXELS).shape == (61, 83, 3)
    last = data.rindex(b"\xff\xda")
    endless = data[:last] + data[last:-2] * 200 + data[-2:]
    with pytest.raises(RequestError, match="expected a JPEG of at most 100 scans, got 20"):
        decode(endless, MAX_PIXELS)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_damaged_files_are_a_request_error_or_a_picture(pictures: Path) -> None:
    """Whatever the bytes: pixels or a RequestError, and nothing else."""
    random = np.random.default_rng(0)
    decoded = refused = 0
    for name in OWN * 40:
        data = bytearray((pictures / name).read_bytes())
        for at in random.integers(0, min(len(data), 2000), 8):
            data[at] = random.integers(256)
        try:
            pixels = decode(data, MAX_PIXELS)
        except RequestError:
            refused += 1
        else:
            decoded += 1
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3
    assert decoded > 20
    assert refused > 20
