"""LitServe, with batches of 16. It takes forms, and no raw bodies. python litserve_app.py PORT"""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import litserve
import torch
from classifier import Classifier
from fastapi import Request


class Api(litserve.LitAPI):  # type: ignore[misc]
    """The stages that LitServe names."""

    def setup(self, device: str) -> None:
        self.classifier = Classifier()
        self.pool = ThreadPoolExecutor(2)

    def decode_request(self, request: Request) -> bytes:
        data: bytes = request["request"].file.read()  # type: ignore[index]
        return data

    def batch(self, inputs: list[bytes]) -> list[torch.Tensor]:
        return list(self.pool.map(self.classifier.read, inputs))

    def predict(self, x: list[torch.Tensor]) -> list[dict[str, Any]]:
        return self.classifier.predict(x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    api = Api(max_batch_size=16, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2)
    server.run(port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
