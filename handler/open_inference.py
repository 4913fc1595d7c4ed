"""The Open Inference Protocol, which KServe calls v2, as far as images go.

A request has one input, of any name:

- ``BYTES``, shape ``[N]``: files. In JSON each is a string in base64, as JSON has no bytes; in
  binary data each follows its length, four bytes, little-endian.
- ``UINT8``, shape ``[N, height, width, 3]`` or ``[height, width, 3]``: pixels, RGB, in JSON or
  binary data.

The answer's two outputs, ``label`` and ``probability``, have the shape ``[N, top_k]``, best first.
https://github.com/kserve/open-inference-protocol
"""

import math
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from itertools import chain, islice
from typing import Any

import numpy as np

from falconet.native.data import Data, Pixels

from .answer import Served
from .base64_text import from_base64
from .budget import ID, IMAGES, SIDE
from .classifier import Prediction
from .errors import RequestError, bad_request, quoted

LENGTH_BYTES = 4


class OpenInference:
    """A request with one input, whose images it holds."""

    def __init__(self, message: dict[str, Any], binary: Data) -> None:
        id = message.get("id")
        self._id = id if isinstance(id, str) else None
        self._inputs = message.get("inputs")
        self._binary = binary

    def images(self) -> list[Data | Pixels]:
        inputs, self._inputs = self._inputs, None
        binary, self._binary = self._binary, b""
        if self._id is not None and len(self._id) > ID:
            self._id = None
            raise bad_request(f"id: expected at most {ID} characters")
        if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
            raise bad_request("expected one input, with the images in it")
        (tensor,) = inputs
        shape, datatype = tensor.get("shape"), tensor.get("datatype")
        count = _count(shape, datatype)
        parameters = tensor.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is not None and size != len(binary):
            raise bad_request(
                f"inputs[0]: expected {quoted(size)} bytes of binary data, got {len(binary)}"
            )
        if datatype == "BYTES":
            files = _elements(binary) if size is not None else _decoded(tensor.get("data"))
            found: list[Data | Pixels] = list(islice(files, count + 1))
            if len(found) != count:
                got = "more" if len(found) > count else len(found)
                raise bad_request(
                    f"inputs[0]: expected {count} elements, as in its shape, got {got}"
                )
            return found
        pixels = _pixels(binary if size is not None else tensor.get("data"), math.prod(shape))
        return list(pixels.reshape(count, *shape[-3:]))

    def name(self, index: int) -> str:
        return f"inputs[0][{index}]: "

    def success(self, found: Sequence[Sequence[Prediction]], served: Served) -> dict[str, Any]:
        shape = [len(found), len(found[0])]
        every = [prediction for one in found for prediction in one]
        labels = [prediction.label for prediction in every]
        probabilities = [round(prediction.probability, 6) for prediction in every]
        return {
            "model_name": served.model,
            "model_version": served.version,
            **({} if self._id is None else {"id": self._id}),
            "outputs": [
                {"name": "label", "datatype": "BYTES", "shape": shape, "data": labels},
                {
                    "name": "probability",
                    "datatype": "FP32",
                    "shape": shape,
                    "data": probabilities,
                },
            ],
        }

    def failure(self, error: RequestError) -> dict[str, Any]:
        return {"error": error.message}


def _count(shape: Any, datatype: Any) -> int:
    """How many images a tensor is said to hold."""
    if not isinstance(shape, list) or not all(
        isinstance(side, int) and not isinstance(side, bool) and 0 < side < SIDE for side in shape
    ):
        raise bad_request(f"inputs[0].shape: expected whole numbers from 1, got {quoted(shape)}")
    count: int
    if datatype == "BYTES" and len(shape) == 1:
        count = shape[0]
    elif datatype == "UINT8" and len(shape) in (3, 4) and shape[-1] == 3:
        count = 1 if len(shape) == 3 else shape[0]
    else:
        raise bad_request(
            "inputs[0]: expected BYTES of shape [N], or UINT8 of shape [N, height, width, 3], got "
            f"{quoted(datatype)} of shape {quoted(shape)}"
        )
    if count > IMAGES:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"expected at most {IMAGES} images, got {count}; split the request",
        )
    return count


def _elements(binary: Data) -> Iterator[Data]:
    """Each after its length."""
    view, at = memoryview(binary), 0
    while at < len(view):
        end = at + LENGTH_BYTES
        length = int.from_bytes(view[at:end], "little")
        if end + length > len(view):
            raise bad_request(
                "inputs[0]: an element of the binary data is longer than what is left"
            )
        yield view[end : end + length]
        at = end + length


def _decoded(data: Any) -> Iterator[Data]:
    if not isinstance(data, list):
        raise bad_request("inputs[0].data: expected a list of files in base64")
    for i, text in enumerate(data):
        yield from_base64(text, f"inputs[0].data[{i}]")


def _pixels(data: Any, count: int) -> Pixels:
    """``count`` numbers from 0 to 255, as bytes or as lists in lists."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        pixels = np.frombuffer(data, np.uint8)
    else:
        pixels = np.frombuffer(_flat(data), np.uint8)
    if pixels.size != count:
        raise bad_request(
            f"inputs[0]: expected {count} numbers, as in its shape, got {pixels.size}"
        )
    return pixels


def _flat(data: Any) -> bytes:
    """The numbers of lists in lists."""
    # NumPy would make room for the longest of what is no number, times all of them.
    while isinstance(data, list) and data and isinstance(data[0], list):
        if len({len(each) if isinstance(each, list) else -1 for each in data}) > 1:
            break
        data = list(chain.from_iterable(data))
    try:
        if isinstance(data, list) and data:
            return bytes(data)
    except (TypeError, ValueError):
        pass
    raise bad_request("inputs[0].data: expected whole numbers from 0 to 255, in even lists")
