"""TorchServe's gRPC interface for predictions. Needs the extra ``grpc``."""

import json
from typing import Any

import grpc

from .errors import ServerError
from .inference_pb2 import PredictionsRequest
from .inference_pb2_grpc import InferenceAPIsServiceStub

# Where the handler looks for an image.
FIELD = "data"


class GrpcClient:
    """A connection to one server; close it, or use it in a ``with``.

    Args:
        address: like ``127.0.0.1:7070``.
        timeout: seconds to wait for any answer.
        max_bytes: of a request or an answer; TorchServe has its own limit, ``max_request_size``.
    """

    def __init__(self, address: str, timeout: float = 10.0, max_bytes: int = 20 << 20) -> None:
        self.address = address
        self.timeout = timeout
        sizes = ("grpc.max_send_message_length", "grpc.max_receive_message_length")
        options = [(size, max_bytes) for size in sizes]
        self._channel = grpc.insecure_channel(address, options)
        self._stub = InferenceAPIsServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def predict(self, model: str, image: bytes, version: str = "") -> Any:
        """The handler's answer to an image, or to KServe's JSON, as over HTTP.

        TorchServe's gRPC has no status for one request of a batch: an error is an answer with
        ``"success"`` false, and its code.

        Raises:
            ServerError: there is no answer.
        """
        request = PredictionsRequest(model_name=model, model_version=version, input={FIELD: image})
        try:
            response = self._stub.Predictions(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise ServerError(
                f"{self.address} answered {error.code().name}: {error.details()}"
            ) from error
        return json.loads(response.prediction)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> "GrpcClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
