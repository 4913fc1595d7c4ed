"""What is wrong with an image."""


class ImageError(ValueError):
    """An image that is not decoded; the message says what was expected, what came, what to do."""


class EmptyImageError(ImageError):
    """There are no bytes."""


class TooManyPixelsError(ImageError):
    """The header states more pixels than are decoded."""


class UnsupportedFormatError(ImageError):
    """It is no image, or one of a format or depth that is not decoded."""


class DamagedImageError(ImageError):
    """It cannot be decoded, or not at a bearable cost."""


def deep_gray() -> UnsupportedFormatError:
    """What is refused, as Pillow would turn it nearly all white, or drop half of it."""
    return UnsupportedFormatError(
        "expected 8 bits per channel, got a grayscale image of 16 or more; scale it to 8 first"
    )
