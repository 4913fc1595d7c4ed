"""Decoding against Pillow's own open(...).convert("RGB")."""

import io
import struct
import sys
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from falconet.native import decode as decode_module
from falconet.native import jpeg
from falconet.native.decode import Decoder, Encoded, decode
from falconet.native.errors import (
    DamagedImageError,
    EmptyImageError,
    ImageError,
    TooManyPixelsError,
    UnsupportedFormatError,
)
from falconet.native.exif import orientation
from falconet.native.formats import DEFAULT
from falconet.native.tiff import prepare, tags

MAX_PIXELS = 1_000_000
DAMAGED, UNSUPPORTED = DamagedImageError, UnsupportedFormatError


def pillow(data: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Palette images with Transparency")
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, color_type: int, rows: bytes) -> bytes:
    """A PNG of a kind that Pillow does not write."""
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
    for path in (Path(__file__).parent.parent / "images").iterdir()
    if path.suffix not in (".py", "") and path.is_file()
)


@pytest.mark.parametrize("name", OWN)
def test_our_images(images: Path, name: str) -> None:
    data = (images / name).read_bytes()
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


def photograph(turned: int, format: str) -> bytes:
    """With Exif that says how it is to be turned."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = turned
    options = {"lossless": True} if format == "WEBP" else {}
    return saved(photo(), format, exif=exif, **options)


@pytest.mark.parametrize("turned", [*range(1, 9), 0, 9])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_orientation_is_applied_where_the_spec_says_so(turned: int, format: str) -> None:
    data = photograph(turned, format)
    decoder = Decoder((*DEFAULT, "AVIF"), "exif")
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    encoded = decoder.open(data)
    assert (encoded.height, encoded.width) == expected.shape[:2]
    np.testing.assert_array_equal(encoded.decode(), expected, strict=True)
    assert encoded.decode().flags.c_contiguous
    # Pillow reads a JPEG in CMYK.
    if format == "JPEG":
        exif = Image.Exif()
        exif[0x0112] = turned
        cmyk = saved(photo("CMYK"), "JPEG", exif=exif)
        with Image.open(io.BytesIO(cmyk)) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        np.testing.assert_array_equal(decoder.decode(cmyk), expected, strict=True)


def test_a_turned_image_is_shrunk_to_its_own_sides() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    encoded = Decoder(orientation="exif").open(saved(photo("RGB", 400, 900), "JPEG", exif=exif))
    assert (encoded.height, encoded.width) == (900, 400)
    assert encoded.decode(least=(400, 150)).shape == (450, 200, 3)
    assert encoded.decode(least=(150, 400)).shape == (900, 400, 3)


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*\0",
        b"MM\0*\0\0\0\x08\xff\xff",
        b"II*\0\xff\xff\xff\xff\1\0",
        b"Exif\0\0no",
        # A number of another kind, two of them, and one that is none of the eight.
        b"MM\0*\0\0\0\x08\0\1\1\x12\0\4\0\0\0\1\0\6\0\0",
        b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\2\0\6\0\6",
        b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x0b\0\0",
    ],
)
def test_exif_that_does_not_say_turns_nothing(exif: bytes) -> None:
    assert orientation(exif) == 1
    data = saved(photo(), "PNG", exif=exif) if exif else saved(photo(), "PNG")
    np.testing.assert_array_equal(
        Decoder(orientation="exif").decode(data), decode(data, MAX_PIXELS), strict=True
    )


def test_orientation_at_the_end_of_much_exif_is_found_and_a_flood_is_not() -> None:
    def many(entries: int) -> bytes:
        tags = [(0x9000 + i % 1000, 3, 1, b"\0\7\0\0") for i in range(entries)]
        tags.append((0x0112, 3, 1, b"\0\6\0\0"))
        body = b"".join(struct.pack(">HHI4s", *tag) for tag in tags)
        return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(tags)) + body + b"\0" * 4

    assert orientation(many(900)) == 6
    assert orientation(many(60000)) == 1


ALL = (*DEFAULT, "AVIF", "TIFF", "HEIC")


@pytest.fixture
def heif() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("format", ["AVIF", "TIFF", "HEIF"])
def test_other_formats_are_decoded_where_they_are_allowed(
    mode: str, format: str, heif: None
) -> None:
    data = saved(photo(mode), format)
    with pytest.raises(UnsupportedFormatError, match="have its format allowed"):
        decode(data, MAX_PIXELS)
    np.testing.assert_array_equal(Decoder(ALL).decode(data), pillow(data), strict=True)
    for cut in range(0, len(data), max(1, len(data) // 40)):
        try:
            Decoder(ALL).decode(data[:cut])
        except ImageError:
            continue


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("CMYK", {}),
        ("P", {}),
        ("1", {"compression": "group4"}),
        ("RGB", {"compression": "tiff_lzw"}),
        ("RGB", {"compression": "tiff_adobe_deflate"}),
        ("RGB", {"compression": "jpeg"}),
        ("LAB", {}),
        ("YCbCr", {"compression": "jpeg"}),
    ],
)
def test_tiffs_of_many_kinds(mode: str, options: dict[str, str]) -> None:
    data = saved(photo("RGB").convert(mode) if mode != "LAB" else lab(), "TIFF", **options)
    try:
        expected = pillow(data)
    except ValueError:  # which Pillow does not turn into RGB
        with pytest.raises(DamagedImageError):
            Decoder(ALL).decode(data)
        return
    np.testing.assert_array_equal(Decoder(ALL).decode(data), expected, strict=True)


def lab() -> Image.Image:
    from PIL import ImageCms

    to_lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.createProfile("sRGB")
    return ImageCms.applyTransform(photo(), ImageCms.buildTransform(srgb, to_lab, "RGB", "LAB"))


def test_tiff_is_turned_by_its_decoder() -> None:
    data = saved(photo(), "TIFF", tiffinfo={0x0112: 6})
    assert Decoder(ALL).decode(data).shape == (83, 61, 3)
    encoded = Decoder(ALL, "exif").open(data)
    assert (encoded.height, encoded.width) == (83, 61)
    np.testing.assert_array_equal(encoded.decode(), pillow(data))


def test_of_16_bits_no_tiff_is_decoded() -> None:
    data = saved(Image.fromarray(np.zeros((4, 4), np.uint16)), "TIFF")
    with pytest.raises(UnsupportedFormatError, match="got a grayscale image of 16 or more"):
        Decoder(ALL).decode(data)


def tiff(entries: list[tuple[int, int, int, int]], rest: bytes = b"") -> bytes:
    """A TIFF of so many tags: number, kind, count and value or place."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + b"\0" * 4 + rest


SIDES = [(256, 4, 1, 8), (257, 4, 1, 8)]


AGAIN = [(40000 + i, 7, 900_000, 8) for i in range(1000)]
STRIPS = [(273, 4, 2_000_000, 200), (279, 4, 2_000_000, 200)]
BYTES = [(258, 3, 1, 8), (273, 1, 8_000_000, 200), (278, 3, 1, 1)]  # each is a place
LISTS = [(34665, 4, 1, 100), (34853, 4, 1, 100)]
TILE = [(322, 4, 1, 40_000), (323, 4, 1, 40_000), (324, 4, 1, 200), (325, 4, 1, 99)]


@pytest.mark.parametrize("entries", [AGAIN, STRIPS, STRIPS[:1], BYTES, TILE])
def test_floods_in_a_tiff_end_early(entries: list[tuple[int, int, int, int]]) -> None:
    """The same megabytes again and again, millions of strips, a tile of gigabytes."""
    data = tiff(SIDES + entries, b"\1" * 8_000_200)
    began = time.process_time()
    with pytest.raises(ImageError):
        Decoder(ALL).decode(data)
    assert time.process_time() - began < 2


def test_lists_of_tags_in_a_tiff_are_not_read() -> None:
    """Each of them a number said a million times."""
    flood = struct.pack("<HHHIII", 1, 50000, 5, 900_000, 300, 0)
    gray = [(258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (279, 4, 1, 64)]
    at = len(tiff(SIDES + gray + LISTS))
    lists = [(number, 4, 1, at) for number, *_ in LISTS]
    data = tiff(SIDES + gray + lists, flood + b"\1" * 8_000_200)
    began = time.process_time()
    assert Decoder(ALL).decode(data).shape == (8, 8, 3)
    assert time.process_time() - began < 1


def test_a_tiff_with_exif_is_the_same_without() -> None:
    exif = ImageFileDirectory_v2()
    exif[0x9003] = "2026:01:01 00:00:00"
    info = ImageFileDirectory_v2()
    info[0x8769] = dict(exif)
    data = saved(photo(), "TIFF", tiffinfo=info)
    assert any(tag.number == 0x8769 and tag.length for tag in tags(data))
    assert not any(tag.number == 0x8769 and tag.length for tag in tags(prepare(data)))
    np.testing.assert_array_equal(Decoder(ALL).decode(data), pillow(data), strict=True)


@pytest.mark.parametrize("by", [b"II", b"MM"])
def test_orientation_may_be_a_long_number(by: bytes) -> None:
    order = "<" if by == b"II" else ">"
    tag = struct.pack(f"{order}2sHIHHHII", by, 42, 8, 1, 0x0112, 4, 1, 8)
    assert orientation(tag) == 8
    assert orientation(tag[:-1]) == 1


@pytest.mark.parametrize("format", ["AVIF", "TIFF", "HEIF"])
def test_bombs_of_other_formats_are_found_by_their_headers(format: str, heif: None) -> None:
    data = saved(Image.new("RGB", (3000, 2000)), format)
    with pytest.raises(TooManyPixelsError, match="got 3000 x 2000"):
        Decoder(ALL).decode(data, 2_000_000)
    # Their decoders hold an image several times over.
    with pytest.raises(TooManyPixelsError, match="at most 4000000 pixels, got 3000 x 2000"):
        Decoder(ALL).decode(data, 8_000_000)


def test_a_decoder_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'falconet\[heic\]'"):
        Decoder(("HEIC",))


def test_of_an_animation_the_first_frame(images: Path) -> None:
    data = (images / "ship-animated.gif").read_bytes()
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
def test_any_buffer(images: Path, name: str, kind: type) -> None:
    data = (images / name).read_bytes()
    np.testing.assert_array_equal(decode(kind(data), MAX_PIXELS), pillow(data))


HUGE = png(20_000, 20_000, 8, 2, b"")
JPEG = saved(photo(), "JPEG")
PNG = saved(photo(), "PNG")


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"", EmptyImageError, "got an empty body"),
        (
            b"hello, world",
            UNSUPPORTED,
            r"12 bytes that begin with b'hello, w",
        ),
        (b"\xff\xd8\xff", DAMAGED, "a JPEG without pixels"),
        (JPEG[: len(JPEG) // 2], DAMAGED, "cannot be decoded: .*truncated"),
        (PNG[: len(PNG) // 2], DAMAGED, "cannot be decoded"),
        (PNG[:60] + b"junk" + PNG[64:], DAMAGED, "cannot be decoded"),
        (HUGE, TooManyPixelsError, "400000000 pixels.*exceeds limit"),
        (
            saved(photo(height=1001, width=1000), "JPEG"),
            TooManyPixelsError,
            "got 1000 x 1001 = 1001000; scale it down",
        ),
        (
            saved(Image.fromarray(np.zeros((4, 4), np.uint16)), "PNG"),
            UNSUPPORTED,
            "16 or more",
        ),
        (saved(photo(), "TIFF"), UNSUPPORTED, "expected an image in one of"),
        (saved(photo(), "PPM"), UNSUPPORTED, "expected an image in one of"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_is_wrong_is_said(
    data: bytes, kind: type[ImageError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 89_478_485)  # a worker in this process lifts it
    with pytest.raises(ImageError, match=message) as caught:
        decode(data, MAX_PIXELS)
    assert type(caught.value) is kind


def test_the_header_decides_before_any_pixel_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has no pixels at all: an error about its size comes from the header."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as a worker does
    with pytest.raises(ImageError, match="got 20000 x 20000 = 400000000"):
        decode(HUGE, 399_999_999)
    empty = png(2000, 1000, 8, 2, b"")
    with pytest.raises(ImageError, match="got 2000 x 1000 = 2000000"):
        decode(empty, 1_999_999)
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode(empty, 2_000_000)


def refused(
    data: bytes, kind: type[ImageError], message: str, max_pixels: int = MAX_PIXELS
) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        decode(data, max_pixels)
    assert type(caught.value) is kind


def scans(image: Image.Image, more: int) -> bytes:
    """A progressive JPEG whose last scan is said again."""
    data = saved(image, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * more + data[-2:]


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    """60 ms a time for 7000 x 7000 pixels."""
    assert decode(scans(photo("L"), 20), MAX_PIXELS).shape == (61, 83, 3)
    refused(scans(photo("L"), 200), DAMAGED, "expected a JPEG of at most 50 scans, got more")
    # Of as many pixels as may be, fewer.
    refused(scans(photo("L"), 20), DAMAGED, "at most 16 scans, got more", max_pixels=61 * 83)
    # Where other images of the request have taken all pixels.
    refused(scans(photo("L"), 0), TooManyPixelsError, "at most 0 pixels", 0)
    # What libjpeg skips, and a marker that stands alone, do not hide them.
    hidden = scans(photo("L"), 200).replace(b"\xff\xda", b"abc\xff\x00\xff\xff\x01\xff\xda")
    refused(hidden, DAMAGED, "expected a JPEG of at most 50 scans, got more")


@pytest.mark.parametrize(
    "hidden",
    [b"\xff\xfe\0\0", b"\xff\xfe\0\1", b"\xff\xe0\0\0", b"\xff\xd9\xff\xd8", b"\xff\x02\xff\xff"],
)
def test_scans_cannot_be_hidden(hidden: bytes) -> None:
    """Behind what libjpeg passes over, and a reader that believes lengths does not."""
    data = scans(photo("L"), 200)
    for at in (2, data.index(b"\xff\xda"), data.rindex(b"\xff\xda")):
        with pytest.raises(ImageError) as caught:
            decode(data[:at] + hidden + data[at:], MAX_PIXELS)
        assert type(caught.value) is DAMAGED
        assert "scans" in str(caught.value) or "no length" in str(caught.value)


def test_what_a_decoder_does_without_is_not_read_by_pillow() -> None:
    data = segments(b"\xff\xe1", 1900)
    np.testing.assert_array_equal(decode(data, MAX_PIXELS), pillow(saved(photo("CMYK"), "JPEG")))


def test_a_baseline_jpeg_in_scans_of_one_color_each() -> None:
    """It is decoded after all have been read, as a progressive one is; cut off, it is refused."""
    data = saved(photo(), "JPEG", progressive=True)
    header = jpeg.read(data, MAX_PIXELS)
    assert header == jpeg.Header(jpeg.PROGRESSIVE, 8, 61, 83, 3, 10, ())
    refused(data[: data.index(b"\xff\xda") + 4], DAMAGED, "a JPEG without pixels")
    baseline = saved(photo(), "JPEG")
    at = baseline.index(b"\xff\xda")
    one = baseline[at : at + 4] + b"\1" + baseline[at + 5 : -2]
    refused(baseline[:at] + one * 100, DAMAGED, "expected a JPEG of at most 50 scans")


def test_what_is_behind_a_jpeg_does_not_matter() -> None:
    """As phones append a film, which may hold whatever a JPEG does."""
    data = saved(photo(), "JPEG")
    film = np.random.default_rng(0).bytes(100_000) + b"\xff\xda" * 1000
    np.testing.assert_array_equal(decode(data + film, MAX_PIXELS), pillow(data))


def test_samplings_without_a_name() -> None:
    data = bytearray(saved(photo(), "JPEG", subsampling="4:4:4"))
    data[data.index(b"\xff\xc0") + 11] = 0x14  # 4:4:1
    np.testing.assert_array_equal(decode(bytes(data), MAX_PIXELS), pillow(bytes(data)))


@pytest.mark.parametrize("bits", [2, 7, 12])
def test_jpegs_of_other_bits_are_refused(bits: int) -> None:
    data = bytearray(saved(photo("L"), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = bits
    with pytest.raises(ImageError) as caught:
        decode(bytes(data), MAX_PIXELS)
    expected = UNSUPPORTED if bits > 8 else DAMAGED
    assert type(caught.value) is expected
    assert bits < 8 or str(caught.value) == "expected 8 bits per sample, got a JPEG of 12 bits"


def segments(kind: bytes, count: int) -> bytes:
    data = saved(photo("CMYK"), "JPEG")
    return data[:2] + (kind + struct.pack(">H", 22) + b"Exif\0\0" + bytes(14)) * count + data[2:]


@pytest.mark.parametrize("kind", [b"\xff\xe1", b"\xff\xe2", b"\xff\xfe"])
def test_jpegs_of_endless_segments_are_refused(kind: bytes) -> None:
    assert decode(segments(kind, 100), MAX_PIXELS).shape == (61, 83, 3)
    refused(segments(kind, 10_000), DAMAGED, "expected a JPEG of at most 2000 segments")


def with_chunks(chunks: bytes, after: bool = False) -> bytes:
    data = saved(photo(), "PNG")
    at = len(data) - 12 if after else 33
    return data[:at] + chunks + data[at:]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", [b"aaAa", b"tEXt", b"IDAT"])
def test_pngs_of_endless_chunks_are_refused(kind: bytes, after: bool) -> None:
    data = with_chunks(chunk(kind, b"") * 30_000, after)
    refused(data, DAMAGED, "expected a PNG of at most 20000 chunks")


PROFILE = np.random.default_rng(0).bytes(1_500_000)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "large",
    [
        chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2 << 20))),
        chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(2 << 20))),
        chunk(b"iCCP", b"k\0\0" + zlib.compress(PROFILE)),
        chunk(b"tEXt", b"k\0" + bytes(2 << 20)) * 40,
    ],
    ids=["zTXt", "iTXt", "iCCP", "tEXt"],
)
def test_large_texts_and_profiles_do_not_matter(large: bytes, after: bool) -> None:
    data = with_chunks(large, after)
    np.testing.assert_array_equal(decode(data, MAX_PIXELS), np.asarray(photo()))
    damage = bytearray(data)
    damage[data.index(large[4:8]) + 20] ^= 1
    if after:  # where Pillow does not ask
        np.testing.assert_array_equal(decode(bytes(damage), MAX_PIXELS), np.asarray(photo()))
    else:
        refused(bytes(damage), DAMAGED, "the image is damaged: in its ....$")


def test_gifs_of_endless_comments_are_refused() -> None:
    data = saved(photo("P"), "GIF")
    at = data.index(b"\x2c")
    flood = data[:at] + (b"!\xfe\x01a\x00") * 100_000 + data[at:]
    refused(flood, DAMAGED, "expected a file in fewer pieces")


def runs(width: int, height: int, of: int) -> bytes:
    """A BMP of runs."""
    pixels = (bytes((of, 0)) * (width // of) + b"\0\0") * height
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    offset = 14 + len(header) + 1024
    start = struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset)
    return start + header + bytes(1024) + pixels


def test_a_bmp_of_runs() -> None:
    """Pillow unpacks them in Python."""
    data = runs(512, 512, 4)
    np.testing.assert_array_equal(decode(data, MAX_PIXELS), pillow(data))
    few = runs(25_000, 2_000, 250)
    with pytest.raises(ImageError, match="at most 4000000 pixels, got 25000 x 2000"):
        decode(few, 10**8)


def test_a_image_is_let_go_once_it_is_decoded() -> None:
    """Pillow's pixels are large, and their file waits for its batch to be answered."""
    encoded = Encoded(saved(photo(), "PNG"), MAX_PIXELS)
    encoded.decode()
    assert encoded._image is None


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(9), UNSUPPORTED, "got a HEIC image; convert it"),
        (b"\0\0\0\x18ftypavif" + bytes(9), UNSUPPORTED, "got an AVIF image"),
        (b"II*\0" + bytes(20), UNSUPPORTED, "got a TIFF image"),
        (b"MM\0*" + bytes(20), UNSUPPORTED, "got a TIFF image"),
        (b"<svg xmlns", UNSUPPORTED, "got an SVG"),
        (b"/9j/4AAQSkZJRg", UNSUPPORTED, "got base64; send the bytes themselves"),
        (b"BM is short for", UNSUPPORTED, "got 15 bytes that begin with b'BM is sh'"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), DAMAGED, "is damaged"),
        (b"\xff\xd8\xff" + bytes(30), DAMAGED, "is damaged"),
        (b"GIF89a", DAMAGED, "is damaged"),
        (png(2, 1, 16, 4, bytes(9)), UNSUPPORTED, "got a grayscale image of 16 or more"),
    ],
)
def test_what_a_file_is_instead_is_said(data: bytes, kind: type[ImageError], message: str) -> None:
    refused(data, kind, message)


def test_a_damaged_png_is_damaged() -> None:
    resolution = bytearray(chunk(b"pHYs", struct.pack(">IIB", 1, 1, 0)))
    resolution[-1] ^= 1
    refused(with_chunks(bytes(resolution)), DAMAGED, "the image is damaged")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_damaged_files_are_a_request_error_or_a_image(images: Path) -> None:
    """Whatever the bytes: pixels or a ImageError, and nothing else."""
    random = np.random.default_rng(0)
    decoded = refused = 0
    for name in OWN * 40:
        data = bytearray((images / name).read_bytes())
        for at in random.integers(0, min(len(data), 2000), 8):
            data[at] = random.integers(256)
        try:
            pixels = decode(data, MAX_PIXELS)
        except ImageError:
            refused += 1
        else:
            decoded += 1
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3
    assert decoded > 20
    assert refused > 20
