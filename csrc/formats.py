"""The picture formats there are: a line for each."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from . import png, tiff, webp
from .data import Data


@dataclass(frozen=True)
class Format:
    """A picture format, as Pillow decodes it.

    Attributes:
        name: in ``spec.json``, and in messages.
        signature: how a file begins.
        suffixes: of files' names.
        share: it may have one in so many of ``max_pixels``, where its decoder holds a picture
            several times over.
        pillow: Pillow's name for it, if it is another.
        certain: whether nothing but a picture begins like this.
        lean: gives the file without what a decoder does without; raises a PictureError for one
            that costs too much.
        exif: finds it in the file. Other formats' orientation is their decoders' business, who
            turn pictures, whatever the spec says.
        advice: to those whose archive does not allow it.
        extra: that is to be installed for it.
    """

    name: str
    signature: re.Pattern[bytes]
    suffixes: tuple[str, ...]
    share: int = 1
    pillow: str = ""
    certain: bool = True
    lean: Callable[[Data], Data] = lambda data: data
    exif: Callable[[Data], Data | None] | None = None
    advice: str = ""
    extra: str = ""


def _begins(signature: bytes) -> re.Pattern[bytes]:
    return re.compile(signature, re.DOTALL)


FORMATS = {
    each.name: each
    for each in (
        # JPEGs are read by their markers first: falconet.native.jpeg.
        Format("JPEG", _begins(rb"\xff\xd8\xff"), (".jpg", ".jpeg")),
        Format(
            "PNG",
            _begins(rb"\x89PNG\r\n\x1a\n"),
            (".png",),
            lean=png.prepared,
            exif=png.exif,
        ),
        Format("WEBP", _begins(rb"RIFF....WEBP"), (".webp",), share=2, exif=webp.exif),
        Format("GIF", _begins(rb"GIF8[79]a"), (".gif",)),
        # Many a text begins with its two letters.
        Format("BMP", _begins(rb"BM"), (".bmp",), certain=False),
        Format(
            "AVIF",
            _begins(rb"....ftypavi[fs]"),
            (".avif",),
            share=2,
            advice="convert it to JPEG first",
        ),
        Format(
            "TIFF",
            _begins(rb"II\*\0|MM\0\*"),
            (".tif", ".tiff"),
            share=2,
            lean=tiff.checked,
            advice="convert it to PNG first",
        ),
        Format(
            "HEIC",
            _begins(rb"....ftyp(hei[cmsx]|hev[cmx]|mif1|msf1)"),
            (".heic", ".heif"),
            share=2,
            pillow="HEIF",
            advice="convert it to JPEG first",
            extra="heic",
        ),
    )
}
# Few on purpose: each decoder is code that strangers' bytes run through.
DEFAULT = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
SIGNATURE_BYTES = 16


def find(data: Data) -> Format | None:
    """The format that a file's first bytes are of."""
    start = bytes(data[:SIGNATURE_BYTES])
    return next((each for each in FORMATS.values() if each.signature.match(start)), None)


def suffixes(names: Iterable[str]) -> set[str]:
    """Of the files of these formats."""
    return {suffix for name in names for suffix in FORMATS[name].suffixes}


def check(names: Iterable[str]) -> None:
    """Make sure that there are such formats.

    Raises:
        ValueError: there are not, or none is named.
    """
    names = tuple(names)
    if not names or not set(names) <= FORMATS.keys():
        raise ValueError(
            f"expected formats to be some of {', '.join(FORMATS)}, got {', '.join(map(str, names))}"
        )


def make_ready(names: Iterable[str]) -> None:
    """Load the decoders of formats, each to run in the thread that asks.

    Raises:
        ModuleNotFoundError: one is not installed.
    """
    if "AVIF" in names:
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    if "HEIC" in names:
        try:
            import pillow_heif
        except ImportError as error:
            raise ModuleNotFoundError(
                "HEIC pictures need pillow-heif: pip install 'falconet[heic]'"
            ) from error
        pillow_heif.options.DECODE_THREADS = 1
        pillow_heif.register_heif_opener()
