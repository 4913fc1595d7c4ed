"""What is wrong with a picture."""


class PictureError(ValueError):
    """A picture that is not decoded; the message says what was expected, what came, what to do."""


class EmptyPictureError(PictureError):
    """There are no bytes."""


class TooManyPixelsError(PictureError):
    """The header states more pixels than are decoded."""


class UnsupportedFormatError(PictureError):
    """It is no picture, or one of a format or depth that is not decoded."""


class DamagedPictureError(PictureError):
    """It cannot be decoded, or not at a bearable cost."""


def deep_gray() -> UnsupportedFormatError:
    """What is refused, as Pillow would turn it nearly all white, or drop half of it."""
    return UnsupportedFormatError(
        "expected 8 bits per channel, got a grayscale picture of 16 or more; scale it to 8 first"
    )
