"""The image formats there are: a line for each."""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from . import isobmff, png, tiff, webp
from .budget import JPEG_PASSES
from .data import Data


@dataclass(frozen=True)
class Format:
    """An image format, as Pillow decodes it.

    Attributes:
        name: in ``spec.json``, and in messages.
        signature: how a file begins.
        suffixes: of files' names.
        divisor: it may have ``max_pixels // divisor``, as its decoder holds an image twice.
        pillow: Pillow's name for it, if it is another.
        certain: whether nothing but an image begins like this.
        prepare: gives the file without what a decoder does without; raises a ImageError for one
            that costs too much.
        ready: sets the decoder up, to run in the thread that asks; raises a ModuleNotFoundError
            where it is not installed.
        exif: finds the Exif in the file.
        exif_by_pillow: whether Pillow finds it when it reads the header. TIFF and HEIC images are
            turned by their decoders, whatever a spec says; GIF and BMP have no orientation.
    """

    name: str
    signature: re.Pattern[bytes]
    suffixes: tuple[str, ...]
    divisor: int = 1
    pillow: str = ""
    certain: bool = True
    prepare: Callable[[Data], Data] = lambda data: data
    ready: Callable[[], None] = lambda: None
    exif: Callable[[Data], Data | None] | None = None
    exif_by_pillow: bool = False


def _begins(signature: bytes) -> re.Pattern[bytes]:
    return re.compile(signature, re.DOTALL)


def _ready_avif() -> None:
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _ready_tiff() -> None:
    # libtiff reads it; scans of the JPEGs in it.
    os.environ.setdefault("LIBTIFF_JPEG_MAX_ALLOWED_SCAN_NUMBER", str(JPEG_PASSES))


def _ready_heic() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise ModuleNotFoundError(
            "HEIC images need pillow-heif: pip install 'falconet[heic]'"
        ) from error
    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.options.THUMBNAILS = False
    pillow_heif.options.DEPTH_IMAGES = pillow_heif.options.AUX_IMAGES = False
    pillow_heif.register_heif_opener()


FORMATS = {
    each.name: each
    for each in (
        # JPEGs are read by their markers first: falconet.native.jpeg.
        Format("JPEG", _begins(rb"\xff\xd8\xff"), (".jpg", ".jpeg")),
        Format(
            "PNG",
            _begins(rb"\x89PNG\r\n\x1a\n"),
            (".png",),
            prepare=png.prepare,
            exif=png.exif,
        ),
        Format("WEBP", _begins(rb"RIFF....WEBP"), (".webp",), divisor=2, exif=webp.exif),
        Format("GIF", _begins(rb"GIF8[79]a"), (".gif",)),
        # Many a text begins with its two letters.
        Format("BMP", _begins(rb"BM"), (".bmp",), certain=False),
        Format(
            "AVIF",
            _begins(rb"....ftyp(avif|mif1....(....)*?avif)"),
            (".avif",),
            divisor=2,
            prepare=isobmff.prepare,
            ready=_ready_avif,
            exif_by_pillow=True,
        ),
        Format(
            "TIFF",
            _begins(rb"II\*\0|MM\0\*"),
            (".tif", ".tiff"),
            divisor=2,
            prepare=tiff.prepare,
            ready=_ready_tiff,
        ),
        Format(
            "HEIC",
            _begins(rb"....ftyp(hei[cmsx]|mif1....(....)*?hei[cmsx])"),
            (".heic", ".heif"),
            divisor=2,
            pillow="HEIF",
            prepare=isobmff.prepare,
            ready=_ready_heic,
        ),
    )
}
# Few on purpose: each decoder is code that strangers' bytes run through.
DEFAULT = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
SIGNATURE_BYTES = 64  # with what an AVIF or a HEIC says that it is compatible with


def find(data: Data) -> Format | None:
    """The format that a file's first bytes are of."""
    start = bytes(data[:SIGNATURE_BYTES])
    return next((each for each in FORMATS.values() if each.signature.match(start)), None)


def suffixes(names: Iterable[str]) -> set[str]:
    """Of the files of these formats."""
    return {suffix for name in names for suffix in FORMATS[name].suffixes}


def check_formats(names: Iterable[str]) -> None:
    """Make sure that there are such formats.

    Raises:
        ValueError: there are not, or none is named.
    """
    names = tuple(names)
    if not names or not set(names) <= FORMATS.keys():
        raise ValueError(
            f"expected formats to be some of {', '.join(FORMATS)}, got {', '.join(map(str, names))}"
        )
