"""An image file as the body of a request, or in a form."""

from collections.abc import Sequence
from typing import Any

from falconet.native.data import Data, Pixels

from . import answer
from .classifier import Prediction
from .errors import RequestError


class Plain:
    """A request with one image, whose answer has the form that the model's spec names."""

    def __init__(self, file: Data) -> None:
        self._files: list[Data | Pixels] = [file]

    def images(self) -> list[Data | Pixels]:
        files, self._files = self._files, []
        return files

    def name(self, index: int) -> str:
        return ""

    def success(self, found: Sequence[Sequence[Prediction]], served: answer.Served) -> Any:
        (only,) = found
        return served.form(only)

    def failure(self, error: RequestError) -> dict[str, Any]:
        return answer.failure(error)
