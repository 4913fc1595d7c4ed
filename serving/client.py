"""TorchServe's HTTP interfaces, as far as an operator needs them."""

from pathlib import Path
from typing import Any

import requests

from .errors import ServerError


class Client:
    """One server's inference and management interfaces.

    Args:
        inference: like ``http://127.0.0.1:8080``.
        management: like ``http://127.0.0.1:8081``.
        timeout: seconds to wait for any answer.
    """

    def __init__(self, inference: str, management: str, timeout: float = 10.0) -> None:
        self.inference = inference
        self.management = management
        self.timeout = timeout

    def models(self) -> list[str]:
        """The names of the registered models.

        Raises:
            ServerError: the server does not answer.
        """
        answer = self._get(f"{self.management}/models?limit=1000")
        return [model["modelName"] for model in answer["models"]]

    def describe(self, model: str) -> dict[str, Any]:
        """What TorchServe says about a model's default version, its workers among it.

        Raises:
            ServerError: the server does not answer, or has no such model.
        """
        (version,) = self._get(f"{self.management}/models/{model}")
        assert isinstance(version, dict)
        return version

    def workers_ready(self, model: str) -> bool:
        """Whether as many workers as the model wants are there and have loaded it."""
        described = self.describe(model)
        states = [worker["status"] for worker in described["workers"]]
        return len(states) >= described["minWorkers"] and set(states) == {"READY"}

    def predict(self, model: str, picture: bytes) -> dict[str, Any]:
        """See :func:`predict`."""
        return predict(self.prediction_url(model), picture, timeout=self.timeout)

    def prediction_url(self, model: str) -> str:
        return f"{self.inference}/predictions/{model}"

    def _get(self, url: str) -> Any:
        try:
            response = requests.get(url, timeout=self.timeout)
        except requests.RequestException as error:
            raise ServerError(f"{url} does not answer: {error}") from error
        if not response.ok:
            raise ServerError(f"{url} answered {response.status_code}: {response.text.strip()}")
        return response.json()


def predict(
    url: str, picture: bytes, *, timeout: float = 10.0, session: requests.Session | None = None
) -> dict[str, Any]:
    """The answer to one picture: predictions, or an error with its code and message.

    Args:
        url: like ``http://127.0.0.1:8080/predictions/cifar10``.
        picture: the file's bytes.
        timeout: seconds to wait.
        session: to keep a connection open for more pictures.

    Raises:
        ServerError: there is no answer, or none in the handler's form.
    """
    try:
        response = (session or requests).post(url, data=picture, timeout=timeout)
    except requests.RequestException as error:
        raise ServerError(f"{url} does not answer: {error}") from error
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or "success" not in answer:
        raise ServerError(f"{url} answered {response.status_code}: {response.text.strip()[:500]}")
    return answer


def model_name(archive: Path) -> str:
    """What an archive's model is called when served."""
    return archive.stem
