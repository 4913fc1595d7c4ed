"""Bodies that would cost more than they should, of each kind in any size."""

import base64
import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from .damage import SIDES, black, chunk, png

MOST_ZIPPED = 200 << 20  # bytes, unpacked
SIDE = SIDES[0]
ALSO = ("AVIF", "TIFF")  # formats that are to be allowed, to be attacked too
SHARED_SIDE = 5_000  # of formats that may have half of the pixels
FORM = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n'


class Flood(NamedTuple):
    """A body, and headers that are needed for it."""

    body: bytes
    headers: dict[str, str] = {}  # noqa: RUF012


@cache
def jpeg(mode: str = "RGB", side: int = 64, **options: bool) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (side, side), 128 if mode == "L" else None).save(file, "JPEG", **options)
    return file.getvalue()


def segments(marker: int, length: int, mode: str = "RGB") -> Callable[[int], Flood]:
    """JPEG segments before the image."""

    def made(size: int) -> Flood:
        data = jpeg(mode)
        one = struct.pack(">BBH", 0xFF, marker, length + 2) + b"Exif\0\0"[:length].ljust(length)
        return Flood(data[:2] + one * max(1, size // len(one)) + data[2:])

    return made


def scans(side: int, mode: str = "L") -> Callable[[int], Flood]:
    """A progressive JPEG's last scan, said again."""

    def made(size: int) -> Flood:
        data = jpeg(mode, side, progressive=True)
        last = data.rindex(b"\xff\xda")
        again = data[last:-2] * max(1, size // (len(data) - last))
        return Flood(data[:-2] + again + data[-2:])

    return made


def fill(size: int) -> Flood:
    """What may stand between a JPEG's segments."""
    data = jpeg()
    return Flood(data[:2] + b"\xff" * size + data[2:])


def junk(size: int) -> Flood:
    data = jpeg("CMYK")
    return Flood(data[:2] + bytes(size) + data[2:])


def chunks(kind: bytes, body: bytes, after: bool = False) -> Callable[[int], Flood]:
    def made(size: int) -> Flood:
        data = png(16, 16, zlib.compress(bytes(16 * 49)))
        one = chunk(kind, body)
        at = len(data) - 12 if after else 33
        return Flood(data[:at] + one * max(1, size // len(one)) + data[at:])

    return made


def pieces_of_data(size: int) -> Flood:
    """A PNG's pixels, a byte in each chunk."""
    packed = zlib.compress(np.random.default_rng(0).bytes(64 * 193))
    data = [chunk(b"IDAT", packed[i : i + 1]) for i in range(len(packed))]
    empty = chunk(b"IDAT", b"") * max(0, (size - 13 * len(packed)) // 12)
    return Flood(png(64, 64, packed[-1:], empty, *data[:-1]))


def large_png(depth: int, color: int) -> Callable[[int], Flood]:
    return lambda size: Flood(black(SIDE, depth, color))


@cache
def large(format: str, mode: str = "RGB", side: int = SIDE, **options: str | int) -> Flood:
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, format, **options)
    return Flood(file.getvalue())


def comments(size: int) -> Flood:
    """Of a GIF, a byte each."""
    file = io.BytesIO()
    Image.new("P", (16, 16)).save(file, "GIF")
    data = file.getvalue()
    at = data.index(b"\x2c")
    return Flood(data[:at] + b"!\xfe\x01a\0" * (size // 5) + data[at:])


def tiff(entries: Iterable[tuple[int, int, int, int]], size: int) -> Flood:
    """Of so many tags, number, kind, count and place of each, and of so many bytes."""
    tags = [(256, 4, 1, 8), (257, 4, 1, 8), *entries]
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    start = b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + b"\0" * 4
    return Flood(start + b"\1" * max(0, size - len(start)))


def same_bytes(size: int) -> Flood:
    """Tags of a TIFF that all name the same bytes as theirs."""
    count = 2000
    return tiff(((40_000 + i, 7, max(5, size // count), 100) for i in range(count)), size)


def strips(size: int) -> Flood:
    places = max(2, size // 8 - 100)
    return tiff([(273, 4, places, 300), (278, 4, 1, 1), (279, 4, places, 300)], size)


def pages(size: int) -> Flood:
    """A TIFF of so many images of a pixel."""
    first, one = tiff([], 0).body[:8], 2 + 10 * 12 + 4
    made = [first]
    for i in range(max(1, size // one)):
        at = 8 + i * one
        tags = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
        tags += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, 1), (305, 1, 1, 0)]
        body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
        made.append(struct.pack("<H", len(tags)) + body + struct.pack("<I", at + one))
    return Flood(b"".join(made))


@cache
def larger_than_it_says() -> Flood:
    """An AVIF whose container states a small part of its image."""
    data = large("AVIF", side=SHARED_SIDE, speed=10).body
    at = data.index(b"ispe") + 8
    return Flood(data[:at] + struct.pack(">II", 64, 64) + data[at + 8 :])


def runs(size: int) -> Flood:
    """A BMP of runs of one pixel, which Pillow unpacks in Python."""
    side = min(SIDE, max(1, int((size / 2) ** 0.5)))
    pixels = (b"\1\0" * side + b"\0\0") * side
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    offset = 14 + len(header) + 1024
    start = struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset)
    return Flood(start + header + bytes(1024) + pixels)


def repeated(start: bytes, one: bytes, end: bytes) -> Callable[[int], Flood]:
    """JSON of many equal values."""

    def made(size: int) -> Flood:
        body = start + one * max(1, size // len(one)) + end
        return Flood(body, {"Content-Type": "application/json"})

    return made


def tensor(shape: str, one: bytes) -> Callable[[int], Flood]:
    start = b'{"inputs":[{"datatype":"UINT8","shape":' + shape.encode() + b',"data":['
    return repeated(start, one, b"0]}]}")


def instances(file: Callable[[], bytes], most: int) -> Callable[[int], Flood]:
    """Many times the same image in one request."""

    def made(size: int) -> Flood:
        text = base64.b64encode(file()).decode()
        count = max(1, min(most, size // len(text)))
        body = json.dumps({"instances": [{"b64": text}] * count}).encode()
        return Flood(body, {"Content-Type": "application/json"})

    return made


def spaced(size: int) -> Flood:
    """Base64 in lines of a letter each."""
    text = "\\n".join(base64.b64encode(jpeg()).decode())
    body = ('{"instances":[{"b64":"' + text * max(1, size // len(text)) + '"}]}').encode()
    return Flood(body, {"Content-Type": "application/json"})


def zipped(size: int) -> Flood:
    plain = bytes(min(1000 * size, MOST_ZIPPED))
    return Flood(gzip.compress(plain, mtime=0), {"Content-Encoding": "gzip"})


def parts(size: int) -> Flood:
    one = FORM % b"image" + b"x\r\n"
    body = one * max(1, size // len(one)) + b"--b--\r\n"
    return Flood(body, {"Content-Type": "multipart/form-data; boundary=b"})


def lines(size: int) -> Flood:
    body = FORM % b"image" + b"\r\n--" * (size // 4) + b"\r\n--b--\r\n"
    return Flood(body, {"Content-Type": "multipart/form-data; boundary=b"})


def parameters(size: int) -> Flood:
    body = (FORM % b"image").replace(b"; name", b"; a=b" * (size // 5) + b"; name") + b"x\r\n--b--"
    return Flood(body, {"Content-Type": "multipart/form-data; boundary=b"})


KINDS: dict[str, Callable[[int], Flood]] = {
    "JPEG: empty comments": segments(0xFE, 0),
    "JPEG: Exif segments": segments(0xE1, 20, "CMYK"),
    "JPEG: profiles": segments(0xE2, 60, "CMYK"),
    "JPEG: empty application segments": segments(0xED, 0, "CMYK"),
    "JPEG: scans of a small image": scans(64),
    "JPEG: scans of a large image": scans(SIDE),
    "JPEG: scans of a large image in color": scans(SIDE, "RGB"),
    "JPEG: padding": fill,
    "JPEG: junk": junk,
    "JPEG: large": lambda size: large("JPEG"),
    "JPEG: large, CMYK": lambda size: large("JPEG", "CMYK"),
    "PNG: unknown chunks": chunks(b"aaAa", b""),
    "PNG: unknown chunks behind the pixels": chunks(b"aaAa", b"", True),
    "PNG: texts": chunks(b"tEXt", b"k\0v"),
    "PNG: packed texts": chunks(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000))),
    "PNG: profiles": chunks(b"iCCP", b"k\0\0" + zlib.compress(bytes(1_000_000))),
    "PNG: Exif": chunks(b"eXIf", b"MM\0*\0\0\0\x08" + bytes(60_000)),
    "PNG: pixels in single bytes": pieces_of_data,
    "PNG: large": large_png(8, 2),
    "PNG: large, with alpha": large_png(8, 6),
    "PNG: large, 16 bits": large_png(16, 6),
    "PNG: large, gray": large_png(8, 0),
    "GIF: comments": comments,
    "GIF: large": lambda size: large("GIF", "P"),
    "WebP: large": lambda size: large("WEBP"),
    "BMP: runs": runs,
    "AVIF: large": lambda size: large("AVIF", side=SHARED_SIDE, speed=10),
    "AVIF: larger than it says": lambda size: larger_than_it_says(),
    "TIFF: large": lambda size: large("TIFF", "RGBA", SHARED_SIDE, compression="tiff_lzw"),
    "TIFF: large, CMYK": lambda size: large(
        "TIFF", "CMYK", SHARED_SIDE, compression="tiff_deflate"
    ),
    "TIFF: the same bytes": same_bytes,
    "TIFF: strips": strips,
    "TIFF: images": pages,
    "JSON: empty objects": repeated(b'{"instances":[', b"{},", b"{}]}"),
    "JSON: empty lists": repeated(b'{"instances":[', b"[],", b"0]}"),
    "JSON: names": repeated(b'{"instances":[{', b'"":0,', b'"a":0}]}'),
    "JSON: numbers": repeated(b'{"instances":[', b"0,", b"0]}"),
    "JSON: long numbers": repeated(b'{"instances":[', b"9" * 4000 + b",", b"0]}"),
    "JSON: fractions": repeated(b'{"instances":[', b"1.7976931348623157e308,", b"0]}"),
    "JSON: escapes": repeated(b'{"instances":["', b"\\u0000", b'"]}'),
    "JSON: spaces": repeated(b"{", b" ", b"}"),
    "JSON: depth": repeated(b'{"instances":', b"[", b""),
    "tensors: numbers": tensor("[1,1,1,3]", b"0,"),
    "tensors: lists of three": tensor("[1000,1000,3]", b"[0,0,0],"),
    "tensors: texts, one of them long": tensor("[1,1,1,3]", b'"",'),
    "instances: large images": instances(black, 128),
    "instances: many images": instances(jpeg, 128),
    "instances: middling images": instances(lambda: black(600), 128),
    "base64 in lines of a letter": spaced,
    "gzip: a bomb": zipped,
    "forms: parts": parts,
    "forms: lines that begin as boundaries": lines,
    "forms: parameters": parameters,
}
