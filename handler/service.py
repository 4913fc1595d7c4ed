"""What a TorchServe worker runs: a batch of requests in, an answer to each out."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from falconet.native import available_cores

from . import answer
from .classifier import Classifier, Prediction
from .decode import Pixels, decode
from .errors import RequestError
from .request import Request, parse

logger = logging.getLogger(__name__)

# What a request comes to: the predictions for each of its pictures, or its error.
Outcome = list[list[Prediction]] | RequestError


@dataclass(frozen=True)
class Waiting:
    """A decoded request that waits for its predictions."""

    index: int
    pictures: list[Pixels]


class Service:
    """Loads an archive's model and answers batches.

    Args:
        context: TorchServe's; names the unpacked archive and holds its ``model-config.yaml``.
    """

    def __init__(self, context: Any) -> None:
        config = context.model_yaml_config
        options = config.get("falconet", {})
        self.max_pixels: int = options.get("max_pixels", 50_000_000)
        self.batch_size: int = context.system_properties["batch_size"]
        workers = config.get("maxWorkers", 1)
        threads = options.get("threads") or max(1, available_cores() // workers)
        torch.set_num_threads(threads)
        Image.MAX_IMAGE_PIXELS = None  # max_pixels is checked on the header, before Pillow would

        self.classifier = Classifier(
            Path(context.system_properties["model_dir"]),
            context.manifest["model"]["serializedFile"],
            threads,
        )
        # Now, while the worker is not READY yet, rather than on somebody's request.
        self.classifier.warm_up(sorted({1, 2, self.batch_size}))

    def handle(self, batch: Sequence[Mapping[str, Any]], context: Any) -> list[bytes]:
        """Answer every request of a batch, each with its own status."""
        requests: list[Request | None] = [None] * len(batch)
        outcomes: dict[int, Outcome] = {}
        waiting: list[Waiting] = []
        for i, fields in enumerate(batch):
            try:
                if context.get_request_header(i, "explain") == "True":
                    raise RequestError(
                        HTTPStatus.NOT_IMPLEMENTED,
                        "explanations are not available; ask /predictions",
                    )
                requests[i] = request = parse(fields)
                waiting.append(Waiting(i, self._decode(request)))
            except RequestError as error:
                outcomes[i] = error
            except Exception:  # a bug, or no memory: this request's alone
                outcomes[i] = _failed("a request could not be read")
            # Usually all requests are predicted together. Very large pictures are not all held.
            if _pixels(waiting) > self.max_pixels:
                outcomes |= self._predict(waiting)
                waiting = []
        outcomes |= self._predict(waiting)

        # The only place where outcomes become responses.
        answers = []
        for i, parsed in enumerate(requests):
            outcome = outcomes[i]
            context.set_response_content_type(i, answer.CONTENT_TYPE)
            if isinstance(outcome, RequestError):
                context.set_response_status(outcome.status.value, outcome.status.phrase, i)
                answers.append(answer.failure(outcome))
            else:
                assert parsed is not None
                answers.append(answer.success(outcome, instances=parsed.instances))
        return answers

    def _decode(self, request: Request) -> list[Pixels]:
        """The request's pictures, which share its limit of pixels."""
        decoded: list[Pixels] = []
        left = self.max_pixels
        for i, data in enumerate(request.pictures):
            try:
                pixels = decode(data, left)
                self.classifier.check(pixels)
            except RequestError as error:
                if request.instances:
                    message = f"instances[{i}]: {error.message}"
                    raise RequestError(error.status, message) from error
                raise
            left -= pixels.shape[0] * pixels.shape[1]
            decoded.append(pixels)
        return decoded

    def _predict(self, waiting: list[Waiting]) -> dict[int, Outcome]:
        """Predict requests together; if that fails, each by itself."""
        try:
            predictions = iter(self._classify([p for item in waiting for p in item.pictures]))
        except Exception:
            if len(waiting) == 1:
                return {waiting[0].index: _failed("a request could not be predicted")}
            return {i: found for item in waiting for i, found in self._predict([item]).items()}
        return {item.index: [next(predictions) for _ in item.pictures] for item in waiting}

    def _classify(self, pictures: list[Pixels]) -> list[list[Prediction]]:
        # One pass, but for KServe requests with so many instances that memory has to be bounded.
        return [
            prediction
            for start in range(0, len(pictures), self.batch_size)
            for prediction in self.classifier.classify(pictures[start : start + self.batch_size])
        ]


def _pixels(waiting: list[Waiting]) -> int:
    return sum(p.shape[0] * p.shape[1] for item in waiting for p in item.pictures)


def _failed(what: str) -> RequestError:
    """Log the exception that is being handled, and keep it to ourselves."""
    logger.exception(what)
    return RequestError(
        HTTPStatus.INTERNAL_SERVER_ERROR, f"{what}; the server's model log says why"
    )
