"""What the handler wants of a request, whatever its protocol."""

from collections.abc import Sequence
from typing import Any, Protocol

from falconet.native.data import Data, Pixels

from .answer import Served
from .classifier import Prediction
from .errors import RequestError


class Request(Protocol):
    """One request, read no further than to know its protocol."""

    def images(self) -> list[Data | Pixels]:
        """Files, or pixels; to be asked once, as the message is let go.

        Raises:
            RequestError: 400 for a request that is not as its protocol has it; 413 for too many.
        """
        ...

    def name(self, index: int) -> str:
        """What a message about one of its images begins with."""
        ...

    def success(self, found: Sequence[Sequence[Prediction]], served: Served) -> Any:
        """The answer in JSON, of the predictions of each image, best first."""
        ...

    def failure(self, error: RequestError) -> dict[str, Any]:
        """The answer to a request that failed."""
        ...
