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
