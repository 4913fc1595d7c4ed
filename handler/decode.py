"""From the bytes of a picture file to pixels."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from .errors import RequestError, bad_request

Pixels = npt.NDArray[np.uint8]
Data = bytes | bytearray | memoryview

# Few on purpose: each decoder is code that strangers' bytes run through.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

# A progressive JPEG comes in ten scans or so. Each costs a pass over all pixels, however few its
# bytes.
MAX_SCANS = 100
STRIP = 1 << 20  # pixels
START_OF_SCAN = b"\xff\xda"

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
            :data:`FORMATS`, 422 a damaged header, or a JPEG of too many scans.
    """

    def __init__(self, data: Data, max_pixels: int) -> None:
        if len(data) == 0:
            raise RequestError(HTTPStatus.BAD_REQUEST, "expected a picture, got an empty body")
        self._data = data
        self._max_pixels = max_pixels
        self._image: Image.Image | None = None
        size = self._jpeg_size() if bytes(data[:3]) == b"\xff\xd8\xff" else None
        self._is_jpeg = size is not None
        self.height, self.width = size or self._open()
        _check_pixels(self.height, self.width, max_pixels)

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
        if self._is_jpeg:
            try:
                height, width = (0, 0) if least is None else self._shrunk(*least)
                pixels: Pixels = simplejpeg.decode_jpeg(
                    self._data, "RGB", min_height=height, min_width=width
                )
                return pixels
            except ValueError:
                # Pillow lets pass damage that leaves a whole picture, and refuses a truncated one.
                _check_pixels(*self._open(), self._max_pixels)
        assert self._image is not None
        with _request_errors(self._data), self._image as image:
            if image.mode.startswith(("I", "F")):
                raise RequestError(
                    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                    "expected 8 bits per pixel, got a 16-bit grayscale picture; scale it to 8 "
                    "bits first",
                )
            image.load()
            # Pillow warns of what we do on purpose: drop the transparency of a palette.
            image.info.pop("transparency", None)
            return _rgb(image)

    def _jpeg_size(self) -> tuple[int, int] | None:
        """Height and width for the fast path, or ``None`` for what Pillow had better judge.

        That is CMYK, which libjpeg-turbo does not turn into RGB, and whatever it finds fault with.
        """
        whole = np.frombuffer(self._data, np.uint8)
        # bytes.count() takes eight times as long: it stops at every 255.
        first, second = START_OF_SCAN
        scans = np.count_nonzero((whole[:-1] == first) & (whole[1:] == second))
        if scans > MAX_SCANS:
            raise RequestError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"expected a JPEG of at most {MAX_SCANS} scans, got {scans}",
            )
        try:
            height, width, colors, _ = simplejpeg.decode_jpeg_header(self._data)
        except ValueError:
            return None
        return None if colors in ("CMYK", "YCCK") else (height, width)

    def _open(self) -> tuple[int, int]:
        with _request_errors(self._data):
            self._image = Image.open(io.BytesIO(self._data), formats=FORMATS)
        return self._image.height, self._image.width

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


def from_base64(text: str, name: str) -> bytes:
    """The bytes that a field of JSON holds.

    Raises:
        RequestError: 400 they are not in base64; ``name`` says whose.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as error:  # binascii's is a ValueError
        raise bad_request(f"{name}: not valid base64: {error}") from None


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
        raise RequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"expected a picture in one of the formats {', '.join(FORMATS)}, got {len(data)} "
            f"bytes that begin with {bytes(data[:8])!r}",
        ) from None
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error, ...
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"the picture cannot be decoded: {error}"
        ) from error


def _check_pixels(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"expected a picture of at most {max_pixels} pixels, got {width} x {height} = "
            f"{width * height}; scale it down first",
        )
