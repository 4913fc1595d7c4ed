"""From the bytes of an image file to pixels. Needs the extra ``serve``."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

try:
    import simplejpeg
    from PIL import Image, UnidentifiedImageError
    from PIL.ImageFile import ImageFile
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "decoding needs Pillow and simplejpeg: pip install 'falconet[serve]'", name=error.name
    ) from error

from . import exif, formats, jpeg
from .budget import JPEG_PASSES, KEPT_OPEN, PIXELS, RLE_PIXELS, RLE_READS, SHARE_OF_RARE_JPEG
from .data import Data, Pixels
from .errors import (
    DamagedImageError,
    EmptyImageError,
    ImageError,
    TooManyPixelsError,
    UnsupportedFormatError,
    deep_gray,
)
from .metered import MeteredFile, open_file
from .unsupported import unsupported

Orientation = Literal["ignore", "exif"]

STRIP = 1 << 20  # pixels
_BITS = 8

# By what a JPEG's decoder divides the sides in passing. It knows eighths in between, too, but has
# fast code for these alone.
SHRINKING = (8, 4, 2)


def check_decoding(allowed: Sequence[str], orientation: str) -> None:
    """Make sure that there are such formats, and such a treatment of orientation.

    Raises:
        ValueError: there are not.
    """
    formats.check_formats(allowed)
    if orientation not in get_args(Orientation):
        raise ValueError(f"expected orientation to be 'ignore' or 'exif', got {orientation!r}")


@dataclass(frozen=True)
class Decoder:
    """From files to pixels, as a model's ``spec.json`` states; training and serving use it alike.

    Args:
        formats: names of :data:`falconet.native.formats.FORMATS` that are decoded.
        orientation: ``"exif"`` turns JPEG, PNG, WebP and AVIF as their Exif says; ``"ignore"``
            leaves them as they are stored, which is how torchvision opens them. TIFF and HEIC are
            turned by their decoders in both cases.

    Raises:
        ValueError: there is no such format or orientation.
        ModuleNotFoundError: the decoder of a format is not installed.
    """

    formats: tuple[str, ...] = formats.DEFAULT
    orientation: Orientation = "ignore"

    def __post_init__(self) -> None:
        check_decoding(self.formats, self.orientation)
        for name in self.formats:
            formats.FORMATS[name].ready()

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> "Decoder":
        """The decoding that a model's ``spec.json`` states; those of earlier versions say less."""
        return cls(tuple(spec.get("formats", formats.DEFAULT)), spec.get("orientation", "ignore"))

    def open(self, data: Data, max_pixels: int = PIXELS) -> "Encoded":
        """Read a file's header; see :class:`Encoded`."""
        return Encoded(data, max_pixels, self.formats, self.orientation)

    def decode(self, data: Data, max_pixels: int = PIXELS) -> Pixels:
        """Decode a file to RGB; see :meth:`Encoded.decode`."""
        return self.open(data, max_pixels).decode()


class Encoded:
    """An image file of which the header has been read.

    Args:
        data: the file's bytes.
        max_pixels: the largest ``height * width`` to decode; checked on the header alone.
        allowed: names of the formats that are decoded.
        orientation: see :class:`Decoder`.

    Attributes:
        height, width: in pixels, as :meth:`decode` gives them.

    Raises:
        EmptyImageError: there are no bytes.
        TooManyPixelsError: more than ``max_pixels``.
        UnsupportedFormatError: not an image in one of the formats allowed.
        DamagedImageError: a damaged header, or a file in more pieces than are read.
    """

    def __init__(
        self,
        data: Data,
        max_pixels: int,
        allowed: Sequence[str] = formats.DEFAULT,
        orientation: Orientation = "ignore",
    ) -> None:
        if len(data) == 0:
            raise EmptyImageError("expected an image, got an empty body")
        found = formats.find(data)
        if found is None or found.name not in allowed:
            raise unsupported(data, found, allowed)
        self._data = data
        self._max_pixels = max_pixels
        self._format = found
        self._allowed = allowed
        self._image: Image.Image | None = None
        self._jpeg: jpeg.Header | None = None
        size = self._jpeg_size() if found.name == "JPEG" else None
        self._is_common_jpeg = size is not None
        self.height, self.width = size or self._open()
        _check_pixels(self.height, self.width, max_pixels)
        self._orientation = self._find_orientation() if orientation == "exif" else exif.UPRIGHT
        if exif.swaps_sides(self._orientation):
            self.height, self.width = self.width, self.height
        if len(data) > KEPT_OPEN:
            self._image = None

    def decode(self, least: tuple[int, int] | None = None) -> Pixels:
        """Decode to RGB, to the same bytes as Pillow's ``open(...).convert("RGB")``.

        Gray is replicated, palettes are looked up, CMYK is converted, an alpha channel is dropped,
        of 16 bits per channel the high ones are kept, of an animation or of several pages the
        first. Color profiles are not applied. 16-bit gray, which Pillow would turn nearly all
        white, is refused.
        With the orientation ``"exif"``, turned as by Pillow's ``ImageOps.exif_transpose``, but for
        an orientation in XMP, which is not read. The GIL is released meanwhile.

        Args:
            least: with ``(height, width)``, a JPEG's sides may be divided by 2, 4 or 8 while it is
                decoded, if both stay at least that long. Faster, and not the same bytes.

        Returns:
            uint8 ``(height, width, 3)``.

        Raises:
            UnsupportedFormatError: 16-bit gray.
            DamagedImageError: it is truncated or corrupt.
        """
        if self._orientation == exif.UPRIGHT:
            return self._decode(least)
        if least is not None and exif.swaps_sides(self._orientation):
            least = least[1], least[0]
        return exif.turn(self._decode(least), self._orientation)

    def _decode(self, least: tuple[int, int] | None) -> Pixels:
        """The pixels as they are stored."""
        if self._is_common_jpeg:
            try:
                height, width = (0, 0) if least is None else self._shrunk(*least)
                pixels: Pixels = simplejpeg.decode_jpeg(
                    self._data, "RGB", min_height=height, min_width=width
                )
                return pixels
            except (ValueError, KeyError):  # a KeyError for samplings that it has no name for
                # Pillow lets pass damage that leaves a whole image, and refuses a truncated one.
                self._afford_again()
        if self._image is None:
            _check_pixels(*self._open(), self._max_pixels)
        # Its pixels are not to be held until the batch is answered.
        waiting, self._image = self._image, None
        assert waiting is not None
        with _image_errors(), waiting as image:
            if image.mode.startswith(("I", "F")):
                raise deep_gray()
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
            raise UnsupportedFormatError(
                f"expected {_BITS} bits per sample, got a JPEG of {header.precision} bits"
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
            raise DamagedImageError("the image is damaged, and too large to be tried otherwise")

    def _find_orientation(self) -> int:
        """How the image is to be turned, by its Exif."""
        if self._jpeg is not None:
            return exif.orientation(self._jpeg.exif(self._data))
        if self._format.exif is not None:
            return exif.orientation(self._format.exif(self._data))
        if self._image is None or not self._format.exif_by_pillow:
            return exif.UPRIGHT
        return exif.orientation(self._image.info.get("exif"))

    def _open(self) -> tuple[int, int]:
        """Have Pillow read the header."""
        with _image_errors():
            prepare = self._format.prepare if self._jpeg is None else self._jpeg.lean
            file = open_file(prepare(self._data))
            name = self._format.pillow or self._format.name
            try:
                self._image = image = Image.open(file, formats=(name,))
            except UnidentifiedImageError:
                if not self._format.certain:
                    raise unsupported(self._data, None, self._allowed) from None
                raise
            _check_pixels(image.height, image.width, self._max_pixels // self._format.divisor)
            assert isinstance(image, ImageFile)
            if name == "BMP" and any(tile[0] == "bmp_rle" for tile in image.tile):
                _check_pixels(image.height, image.width, min(self._max_pixels, RLE_PIXELS))
                if isinstance(file, MeteredFile):
                    file.reads = RLE_READS
        return image.height, image.width

    def _shrunk(self, least_height: int, least_width: int) -> tuple[int, int]:
        """The smallest size that a JPEG may be decoded to, as it is stored."""
        assert self._jpeg is not None
        for factor in SHRINKING:
            height, width = -(-self._jpeg.height // factor), -(-self._jpeg.width // factor)
            if height >= least_height and width >= least_width:
                return height, width
        return self._jpeg.height, self._jpeg.width


class Decoded:
    """Pixels that came as such, RGB: uint8 ``(height, width, 3)``.

    Raises:
        TooManyPixelsError: there are.
    """

    def __init__(self, pixels: Pixels, max_pixels: int) -> None:
        self._pixels = pixels
        self.height, self.width, _ = pixels.shape
        _check_pixels(self.height, self.width, max_pixels)

    def decode(self, least: tuple[int, int] | None = None) -> Pixels:
        """The pixels as they are; see :meth:`Encoded.decode`."""
        return self._pixels


def decode(data: Data, max_pixels: int) -> Pixels:
    """Decode an image file in one of the usual formats, as it is stored: :class:`Encoded`."""
    return Encoded(data, max_pixels).decode()


def gray(pixels: Pixels) -> Pixels:
    """An RGB image as ``(height, width)``, by Pillow's weights, for a network of gray ones."""
    return np.asarray(Image.fromarray(pixels).convert("L"))


def _rgb(image: Image.Image) -> Pixels:
    """The pixels of an image that is loaded, converted.

    A large one in strips: as a whole, Pillow would hold it four times over, and a process waits
    longer for memory than for the pixels.
    """
    width, height = image.size
    if width * height <= STRIP:
        return np.asarray(_converted(image))
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows] = np.asarray(_converted(strip))
    return pixels


def _converted(image: Image.Image) -> Image.Image:
    """In RGB; what is so already is not copied, as Pillow would."""
    return image if image.mode == "RGB" else image.convert("RGB")


@contextmanager
def _image_errors() -> Iterator[None]:
    """Turns what Pillow raises into what is wrong with the image."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # unless the process has lifted Pillow's limit
        raise TooManyPixelsError(str(error)) from None
    except UnidentifiedImageError:
        raise DamagedImageError("the image is damaged: its header cannot be read") from None
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error, ...
        raise DamagedImageError(f"the image cannot be decoded: {error}") from error


def _check_pixels(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise TooManyPixelsError(
            f"expected an image of at most {max_pixels} pixels, got {width} x {height} = "
            f"{width * height}; scale it down first"
        )
