"""The asynchronous client."""

import asyncio
from collections.abc import Sequence
from os import PathLike
from types import TracebackType

import httpx

from .exchange import Request, build_request, exchange
from .http_options import TIMEOUT_SECONDS, http_options
from .image import Image
from .result import Result
from .retry import Retry


class AsyncClient:
    """The same as :class:`.Client`, with coroutines for asyncio."""

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
        self._http = httpx.AsyncClient(**http_options(url, api_key, ca, timeout))

    async def predict(
        self, image: Image, *, model: str | None = None, version: str | None = None
    ) -> Result:
        """See :meth:`.Client.predict`."""
        (result,) = await self.predict_batch([image], model=model, version=version)
        return result

    async def predict_batch(
        self, images: Sequence[Image], *, model: str | None = None, version: str | None = None
    ) -> list[Result]:
        """See :meth:`.Client.predict_batch`. Files are read before the first await."""
        request = build_request(self.url, images, model, version)
        attempts = exchange(request, self._retry)
        delay = next(attempts)
        try:
            while True:
                await asyncio.sleep(delay)
                delay = attempts.send(await self._send(request))
        except StopIteration as done:
            results: list[Result] = done.value
            return results

    async def _send(self, request: Request) -> httpx.Response | httpx.RequestError:
        try:
            return await self._http.post(request.url, content=request.body, headers=request.headers)
        except httpx.RequestError as error:
            return error

    async def ready(self) -> bool:
        """See :meth:`.Client.ready`."""
        try:
            response = await self._http.get(httpx.URL(self.url).join("/ready"))
            return response.status_code == 200
        except httpx.TransportError:
            return False

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
