"""The synchronous client."""

import time
from collections.abc import Sequence
from os import PathLike
from types import TracebackType

import httpx

from .exchange import Request, build_request, exchange
from .http_options import TIMEOUT_SECONDS, http_options
from .image import Image
from .result import Result
from .retry import Retry


class Client:
    """Sends images to a server or gateway, and keeps the connection open.

    Can be used from several threads.

    Args:
        url: like ``https://images.example.com``, or with the path of a model,
            ``http://127.0.0.1:8080/predictions/cifar10``.
        api_key: for a gateway.
        ca: path of a file with the certificates to trust instead of the system's.
        timeout: seconds for each part of an attempt: connecting, sending, waiting for the response.
        retry: when a request is sent again.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        ca: "str | PathLike[str] | None" = None,
        timeout: float = TIMEOUT_SECONDS,
        retry: Retry | None = None,
    ) -> None:
        self.url = url
        self._retry = retry or Retry()
        self._http = httpx.Client(**http_options(url, api_key, ca, timeout))

    def predict(
        self, image: Image, *, model: str | None = None, version: str | None = None
    ) -> Result:
        """Classify one image.

        Args:
            image: path, content of an image file, or uint8 array of shape (height, width, 3).
            model: name; by default the gateway's default model, or the model of ``url``.
            version: of the model; by default the current one.

        Raises:
            ResponseError: the server responded with an error, after all retries.
            ConnectionFailedError: the server cannot be reached, after all retries.
            OSError, TypeError, ValueError: the image is not one that can be sent.
        """
        (result,) = self.predict_batch([image], model=model, version=version)
        return result

    def predict_batch(
        self, images: Sequence[Image], *, model: str | None = None, version: str | None = None
    ) -> list[Result]:
        """Classify several images in one request; see :meth:`predict`.

        The server accepts at most 128 images per request. If one image is invalid, the request
        fails, and the message names the image by its index.
        """
        request = build_request(self.url, images, model, version)
        attempts = exchange(request, self._retry)
        delay = next(attempts)
        try:
            while True:
                time.sleep(delay)
                delay = attempts.send(self._send(request))
        except StopIteration as done:
            results: list[Result] = done.value
            return results

    def _send(self, request: Request) -> httpx.Response | httpx.RequestError:
        try:
            return self._http.post(request.url, content=request.body, headers=request.headers)
        except httpx.RequestError as error:
            return error

    def ready(self) -> bool:
        """Whether a gateway reports that its server is ready."""
        try:
            return self._http.get(httpx.URL(self.url).join("/ready")).status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
