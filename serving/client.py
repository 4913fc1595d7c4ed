"""TorchServe's HTTP interfaces, as far as an operator needs them."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from falconet.client import Client as PredictionClient
from falconet.client import ConnectionFailedError, Result, Retry
from falconet.handler import BATCH_SECONDS, BEGUN, REQUESTS, SUCCEEDED

from .counts import Counts
from .errors import ServerError

# TorchServe unpacks an archive, however large, before it answers.
UNPACK_SECONDS = 180.0


class Client:
    """One server's inference and management interfaces.

    Args:
        inference: like ``http://127.0.0.1:8080``.
        management: like ``http://127.0.0.1:8081``.
        metrics: like ``http://127.0.0.1:8082``.
        timeout: seconds to wait for any answer.
    """

    def __init__(
        self, inference: str, management: str, metrics: str, timeout: float = 10.0
    ) -> None:
        self.inference = inference
        self.management = management
        self.metrics = metrics
        # A proxy, which the environment may name, cannot reach this machine. No connection is kept
        # open, as nobody closes this client.
        closing = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(trust_env=False, verify=False, timeout=timeout, limits=closing)
        self._timeout = timeout

    def models(self) -> list[str]:
        """The names of the registered models.

        Raises:
            ServerError: the server does not answer.
        """
        names: list[str] = []
        page: dict[str, str | int] = {"limit": 100}  # TorchServe gives no more at a time
        while True:
            answer = self._ask("GET", self._models, page).json()
            names += [model["modelName"] for model in answer["models"]]
            if "nextPageToken" not in answer:
                return names
            page["next_page_token"] = answer["nextPageToken"]

    def describe(self, model: str, version: str | None = None) -> dict[str, Any]:
        """What TorchServe says about a version of a model, or its default one, with its workers.

        Raises:
            ServerError: the server does not answer, or has no such model.
        """
        (found,) = self._get(f"{self._models}/{model}{_slash(version)}")
        assert isinstance(found, dict)
        return found

    def versions(self, model: str) -> list[dict[str, Any]]:
        """The same for all versions of a model; for none, if it is not registered.

        Raises:
            ServerError: the server does not answer.
        """
        if model not in self.models():
            return []
        found = self._get(f"{self._models}/{model}/all")
        assert isinstance(found, list)
        return found

    def workers_ready(self, model: str, version: str | None = None) -> bool:
        """Whether as many workers as the model wants are there and have loaded it."""
        described = self.describe(model, version)
        states = [worker["status"] for worker in described["workers"]]
        return len(states) >= max(1, described["minWorkers"]) and set(states) == {"READY"}

    def register(self, file: str, model: str, workers: int) -> None:
        """Register a file of the model store, and return before its workers have started.

        The first version of a model is its default; others are not.

        Args:
            file: its name in the store.
            model: the name it is served under.
            workers: how many, where the archive does not say.

        Raises:
            ServerError: the server does not answer, or refuses it.
        """
        query: dict[str, str | int] = {
            "url": file,
            "model_name": model,
            "initial_workers": workers,
            "synchronous": "false",
        }
        self._ask("POST", self._models, query, expected=(200, 202), timeout=UNPACK_SECONDS)

    def unregister(self, model: str, version: str) -> None:
        """Take a version away; its workers are killed at once.

        The default may go only as the last one, and the model with it.

        Raises:
            ServerError: the server does not answer, or refuses it.
        """
        self._ask("DELETE", f"{self._models}/{model}/{version}", {})

    def set_default(self, model: str, version: str) -> None:
        """Have a version answer requests that name none, from now on.

        Raises:
            ServerError: the server does not answer, or has no such version.
        """
        self._ask("PUT", f"{self._models}/{model}/{version}/set-default", {})

    def scale(self, model: str, workers: int) -> None:
        """Have a model's default version run with so many workers, and return before it does.

        Raises:
            ServerError: the server does not answer.
        """
        query: dict[str, str | int] = {
            "min_worker": workers,
            "max_worker": workers,
            # TorchServe would hold up the connections that share the thread which waits.
            "synchronous": "false",
        }
        self._ask("PUT", f"{self._models}/{model}", query, expected=(200, 202))

    def counted(self, model: str, version: str) -> Counts:
        """What the workers of a version have counted; they report once a second.

        Raises:
            ServerError: the server does not answer.
        """
        text = self._ask("GET", f"{self.metrics}/metrics", {}).text
        of_version = {"model_name": model, "model_version": version}
        begun = _sum(text, BEGUN, of_version)
        return Counts(
            begun=None if begun is None else round(begun),
            answered=round(_sum(text, REQUESTS, of_version) or 0),
            succeeded=round(_sum(text, SUCCEEDED, of_version) or 0),
            seconds=_sum(text, BATCH_SECONDS, of_version) or 0.0,
        )

    def predict(self, model: str, image: bytes) -> Result:
        """What the default version of a model predicts for an image file.

        Raises:
            ServerError: the server does not answer.
            ResponseError: it answered with an error.
        """
        once = Retry(attempts=1)
        with PredictionClient(self.inference, timeout=self._timeout, retry=once) as client:
            try:
                return client.predict(image, model=model)
            except ConnectionFailedError as error:
                raise ServerError(str(error)) from error

    def prediction_url(self, model: str, version: str | None = None) -> str:
        return f"{self.inference}/predictions/{model}{_slash(version)}"

    @property
    def _models(self) -> str:
        return f"{self.management}/models"

    def _get(self, url: str) -> Any:
        return self._ask("GET", url, {}).json()

    def _ask(
        self,
        method: str,
        url: str,
        query: Mapping[str, str | int],
        *,
        expected: Sequence[int] = (200,),
        timeout: float | None = None,
    ) -> httpx.Response:
        try:
            response = self._http.request(
                method, url, params=query, timeout=timeout or self._http.timeout
            )
        except httpx.TransportError as error:
            raise ServerError(f"{url} does not answer: {error or type(error).__name__}") from error
        # 206 is in use for workers that could not be started.
        if response.status_code not in expected:
            raise ServerError(f"{url} answered {response.status_code}: {response.text.strip()}")
        return response


def _sum(text: str, name: str, wanted: Mapping[str, str]) -> float | None:
    """The sum of a metric's lines that have these labels."""
    labels = [f'{label}="{value}"' for label, value in wanted.items()]
    found = [
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith(f"{name}{{") and all(label in line for label in labels)
    ]
    return sum(found) if found else None


def _slash(version: str | None) -> str:
    return "" if version is None else f"/{version}"
