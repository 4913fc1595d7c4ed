"""From the bytes of a picture file to pixels."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from . import jpeg, png
from .base64_text import PICTURES_IN_BASE64
from .budget import JPEG_PASSES, KEPT_OPEN, RLE_PIXELS, RLE_READS, SHARE_OF_RARE_JPEG, SHARE_OF_WEBP
from .data import Data, Pixels
from .errors import RequestError, damaged
from .metered import MeteredFile

# Few on purpose: each decoder is code that strangers' bytes run through.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

STRIP = 1 << 20  # pixels
_BITS = 8

SIGNATURE_BYTES = 16
# Of our formats; two letters, as BMP has them, begin many a text.
OWN_SIGNATURES = (jpeg.SIGNATURE, png.SIGNATURE, b"GIF87a", b"GIF89a")
# What else is sent, by how it begins.
OTHERS = tuple(
    (re.compile(signature, re.DOTALL), name)
    for signature, name in (
        (rb"....ftyp(hei[cmsx]|hev[cmx]|mif1|msf1)", "a HEIC picture; convert it to JPEG first"),
        (rb"....ftypavi[fs]", "an AVIF picture; convert it to JPEG first"),
        (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "a TIFF picture; convert it to PNG first"),
        (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 picture; convert it to JPEG first"),
        (rb"\s*(<\?xml|<svg)", "an SVG or other XML; render it first"),
        (
            b"|".join((*PICTURES_IN_BASE64, b"data:image/")),
            'base64; send the bytes themselves, or JSON like {"instances": [{"b64": "..."}]}',
        ),
    )
)

# By what a JPEG's decoder divides the sides in passing. It knows eighths in between, too, but has
# fast code for these alone.
SHRINKING = (8, 4, 2)


class Encoded:
    """A picture file of which the header has been read.

    Args:
        data: the file's bytes.
        max_pixels: the largest ``height * width`` to decode; checked on the header alone.

    Attributes:
        height, width: in pixels.

    Raises:
        RequestError: 400 nothing there, 413 too many pixels, 415 not a picture in one of
            :data:`FORMATS`, 422 a damaged header, or a file in more pieces than are read.
    """

    def __init__(self, data: Data, max_pixels: int) -> None:
        if len(data) == 0:
            raise RequestError(HTTPStatus.BAD_REQUEST, "expected a picture, got an empty body")
        self._data = data
        self._max_pixels = max_pixels
        self._image: Image.Image | None = None
        self._jpeg: jpeg.Header | None = None
        size = self._jpeg_size() if bytes(data[:3]) == jpeg.SIGNATURE else None
        self._is_common_jpeg = size is not None
        self.height, self.width = size or self._open()
        _check_pixels(self.height, self.width, max_pixels)
        if len(data) > KEPT_OPEN:
            self._image = None

    def decode(self, least: tuple[int, int] | None = None) -> Pixels:
        """Decode to RGB, to the same bytes as Pillow's ``open(...).convert("RGB")``.

        Gray is replicated, palettes are looked up, CMYK is converted, an alpha channel is dropped,
        of 16 bits per channel the high ones are kept, of an animation the first frame. EXIF
        orientation and color profiles are not applied. 16-bit gray, which Pillow would turn nearly
        all white, is refused. The GIL is released meanwhile.

        Args:
            least: with ``(height, width)``, a JPEG's sides may be divided by 2, 4 or 8 while it is
                decoded, if both stay at least that long. Faster, and not the same bytes.

        Returns:
            uint8 ``(height, width, 3)``.

        Raises:
            RequestError: 415 16-bit gray, 422 a picture that is truncated or corrupt.
        """
        if self._is_common_jpeg:
            try:
                height, width = (0, 0) if least is None else self._shrunk(*least)
                pixels: Pixels = simplejpeg.decode_jpeg(
                    self._data, "RGB", min_height=height, min_width=width
                )
                return pixels
            except (ValueError, KeyError):  # a KeyError for samplings that it has no name for
                # Pillow lets pass damage that leaves a whole picture, and refuses a truncated one.
                self._afford_again()
        if self._image is None:
            _check_pixels(*self._open(), self._max_pixels)
        # Its pixels are not to be held until the batch is answered.
        opened, self._image = self._image, None
        assert opened is not None
        with _request_errors(self._data), opened as image:
            if image.mode.startswith(("I", "F")):
                raise png.sixteen_bits()
            image.load()
            # Pillow warns of what we do on purpose: drop the transparency of a palette.
            image.info.pop("transparency", None)
            return _rgb(image)

    def _jpeg_size(self) -> tuple[int, int] | None:
        """Height and width for the fast path, or ``None`` for what Pillow had better judge.

        That is CMYK, which libjpeg-turbo does not turn into RGB, and whatever is rare.
        """
        self._jpeg = header = jpeg.read(self._data, self._max_pixels)
        if header.precision > _BITS:
            raise RequestError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"expected {_BITS} bits per sample, got a JPEG of {header.precision} bits",
            )
        if header.process not in (jpeg.BASELINE, jpeg.EXTENDED, jpeg.PROGRESSIVE):
            _check_pixels(header.height, header.width, self._max_pixels // SHARE_OF_RARE_JPEG)
            return None
        if header.precision != _BITS or header.components not in (1, 3):
            return None
        return (header.height, header.width) if header.height and header.width else None

    def _afford_again(self) -> None:
        """A second decoder may go over the pixels as often as the first; both share a budget."""
        assert self._jpeg is not None
        passes = 2 * self._jpeg.scans * self.height * self.width
        if self._jpeg.scans > 1 and passes > JPEG_PASSES * self._max_pixels:
            raise damaged("the picture is damaged, and too large to be tried otherwise")

    def _open(self) -> tuple[int, int]:
        """Have Pillow read the header."""
        with _request_errors(self._data):
            data = self._data
            if self._jpeg is not None:
                data = self._jpeg.lean(data)
            elif bytes(data[: len(png.SIGNATURE)]) == png.SIGNATURE:
                data = png.prepared(data)
            file = MeteredFile(data)
            self._image = image = Image.open(file, formats=FORMATS)
            if image.format == "WEBP":
                _check_pixels(image.height, image.width, self._max_pixels // SHARE_OF_WEBP)
            if isinstance(image, ImageFile) and any(tile[0] == "bmp_rle" for tile in image.tile):
                _check_pixels(image.height, image.width, min(self._max_pixels, RLE_PIXELS))
                file.reads = RLE_READS
        return image.height, image.width

    def _shrunk(self, least_height: int, least_width: int) -> tuple[int, int]:
        """The smallest size that may be decoded to."""
        for factor in SHRINKING:
            height, width = -(-self.height // factor), -(-self.width // factor)  # rounded up
            if height >= least_height and width >= least_width:
                return height, width
        return self.height, self.width


class Decoded:
    """Pixels that came as such, RGB: uint8 ``(height, width, 3)``.

    Raises:
        RequestError: 413 too many.
    """

    def __init__(self, pixels: Pixels, max_pixels: int) -> None:
        self._pixels = pixels
        self.height, self.width, _ = pixels.shape
        _check_pixels(self.height, self.width, max_pixels)

    def decode(self, least: tuple[int, int] | None = None) -> Pixels:
        """The pixels as they are; see :meth:`Encoded.decode`."""
        return self._pixels


def decode(data: Data, max_pixels: int) -> Pixels:
    """Decode a picture file: see :class:`Encoded`."""
    return Encoded(data, max_pixels).decode()


def _rgb(image: Image.Image) -> Pixels:
    """The pixels of a picture that is loaded, converted.

    A large one in strips: as a whole, Pillow would hold it four times over, and a process waits
    longer for memory than for the pixels.
    """
    width, height = image.size
    if width * height <= STRIP:
        return np.asarray(image.convert("RGB"))
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows] = np.asarray(strip.convert("RGB"))
    return pixels


@contextmanager
def _request_errors(data: Data) -> Iterator[None]:
    """Turns what Pillow raises into the request's error."""
    try:
        yield
    except (RequestError, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # unless the process has lifted Pillow's limit
        raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from None
    except UnidentifiedImageError:
        start = bytes(data[:SIGNATURE_BYTES])
        if start.startswith(OWN_SIGNATURES):
            raise damaged("the picture is damaged: its header cannot be read") from None
        raise RequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"expected a picture in one of the formats {', '.join(FORMATS)}, got "
            f"{_kind(start, len(data))}",
        ) from None
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error, ...
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"the picture cannot be decoded: {error}"
        ) from error


def _kind(start: bytes, length: int) -> str:
    """What a file is that is none of ours."""
    for signature, name in OTHERS:
        if signature.match(start):
            return name
    return f"{length} bytes that begin with {start[:8]!r}"


def _check_pixels(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"expected a picture of at most {max_pixels} pixels, got {width} x {height} = "
            f"{width * height}; scale it down first",
        )
