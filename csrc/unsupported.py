"""What a file is that is not decoded."""

import re
from collections.abc import Sequence

from .data import Data
from .errors import UnsupportedFormatError
from .formats import DEFAULT, SIGNATURE_BYTES, Format

# How a JPEG, a PNG, a GIF and a WebP begin in base64.
IMAGES_IN_BASE64 = (b"/9j/", b"iVBORw0KGgo", b"R0lGOD", b"UklGR")
# What else is sent, by how it begins.
OTHERS = tuple(
    (re.compile(signature, re.DOTALL), name)
    for signature, name in (
        (rb"....ftyp(avis|hev[cmx]|msf1|mif1)", "a sequence of AVIF or HEIC images; send one"),
        (rb"II\+\0|MM\0\+", "a BigTIFF image; convert it to PNG first"),
        (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image; convert it to JPEG first"),
        (rb"\s*(<\?xml|<svg)", "an SVG or other XML; render it first"),
        (
            b"|".join((*IMAGES_IN_BASE64, b"data:image/")),
            'base64; send the bytes themselves, or JSON like {"instances": [{"b64": "..."}]}',
        ),
    )
)


def unsupported(data: Data, found: Format | None, allowed: Sequence[str]) -> UnsupportedFormatError:
    """The error for a file.

    Args:
        data: the file.
        found: the format that it begins like, if any.
        allowed: names of the formats that are decoded.
    """
    start = bytes(data[:SIGNATURE_BYTES])
    if found is not None:
        an = "an" if found.name.startswith("A") else "a"
        cure = "in spec.json" if found.name in DEFAULT else f"falconet archive --allow {found.name}"
        got = f"{an} {found.name} image; convert it first, or have its format allowed ({cure})"
    else:
        got = next(
            (name for signature, name in OTHERS if signature.match(start)),
            f"{len(data)} bytes that begin with {start[:8]!r}",
        )
    return UnsupportedFormatError(
        f"expected an image in one of the formats {', '.join(allowed)}, got {got}"
    )
