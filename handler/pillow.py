"""How Pillow is set up in a process that decodes what strangers send."""

import warnings

from PIL import Image


def quiet_pillow() -> None:
    """Silence Pillow's warnings, and leave the limit of pixels to the decoder."""
    # They quote what files contain, and each text is kept.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    Image.MAX_IMAGE_PIXELS = None  # max_pixels is checked on the header, before Pillow would
