"""From the bytes of a picture file to pixels."""

import io
from http import HTTPStatus

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from .errors import RequestError

Pixels = npt.NDArray[np.uint8]
Data = bytes | bytearray | memoryview

# Few on purpose: each decoder is code that strangers' bytes run through.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

# A progressive JPEG comes in ten scans or so. Each costs a pass over all pixels, however few its
# bytes.
MAX_SCANS = 100
START_OF_SCAN = b"\xff\xda"


def decode(data: Data, max_pixels: int) -> Pixels:
    """Decode a picture to RGB, to the same bytes as Pillow's ``open(...).convert("RGB")``.

    Gray is replicated, palettes are looked up, CMYK is converted, an alpha channel is dropped, of
    16 bits per channel the high ones are kept, of an animation the first frame. EXIF orientation
    and color profiles are not applied. 16-bit gray, which Pillow would turn nearly all white, is
    refused.

    Args:
        data: the file's bytes.
        max_pixels: the largest ``height * width`` to decode; checked on the header alone.

    Returns:
        uint8 ``(height, width, 3)``.

    Raises:
        RequestError: 400 nothing there, 413 too many pixels, 415 not a picture in one of
            :data:`FORMATS`, 422 a picture that is truncated, corrupt, or of too many scans.
    """
    if len(data) == 0:
        raise RequestError(HTTPStatus.BAD_REQUEST, "expected a picture, got an empty body")
    if bytes(data[:3]) == b"\xff\xd8\xff":
        whole = bytes(data) if isinstance(data, memoryview) else data
        scans = whole.count(START_OF_SCAN)
        if scans > MAX_SCANS:
            raise RequestError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"expected a JPEG of at most {MAX_SCANS} scans, got {scans}",
            )
        pixels = _decode_jpeg(data, max_pixels)
        if pixels is not None:
            return pixels
    return _decode_any(data, max_pixels)


def _decode_jpeg(data: Data, max_pixels: int) -> Pixels | None:
    """The fast path, or ``None`` for what Pillow had better judge.

    That is CMYK, which libjpeg-turbo does not turn into RGB, and whatever it finds fault with:
    Pillow lets pass damage that leaves a whole picture, and refuses a truncated one.
    """
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
        _check_pixels(height, width, max_pixels)
        if colors in ("CMYK", "YCCK"):
            return None
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB")
    except ValueError:
        return None
    return pixels


def _decode_any(data: Data, max_pixels: int) -> Pixels:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_pixels(image.height, image.width, max_pixels)
            if image.mode.startswith(("I", "F")):
                raise RequestError(
                    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                    "expected 8 bits per pixel, got a 16-bit grayscale picture; scale it to 8 "
                    "bits first",
                )
            image.load()
            # Pillow warns of what we do on purpose: drop the transparency of a palette.
            image.info.pop("transparency", None)
            return np.asarray(image.convert("RGB"))
    except RequestError:
        raise
    except Image.DecompressionBombError as error:  # unless the process has lifted Pillow's limit
        raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from None
    except UnidentifiedImageError:
        raise RequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"expected a picture in one of the formats {', '.join(FORMATS)}, got {len(data)} "
            f"bytes that begin with {bytes(data[:8])!r}",
        ) from None
    except MemoryError:
        raise
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
