"""The Open Inference Protocol, which KServe calls v2, as far as pictures go.

A request has one input, of any name:

- ``BYTES``, shape ``[N]``: files. In JSON each is a string in base64, as JSON has no bytes; in
  binary data each follows its length, four bytes, little-endian.
- ``UINT8``, shape ``[N, height, width, 3]`` or ``[height, width, 3]``: pixels, RGB, in JSON or
  binary data.

The answer's two outputs, ``label`` and ``probability``, have the shape ``[N, top_k]``, best first.
https://github.com/kserve/open-inference-protocol
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any

import numpy as np

from .classifier import Prediction
from .decode import Data, Pixels, from_base64
from .errors import RequestError, bad_request

# Where the JSON ends in a body with binary data after it.
LENGTH_HEADER = "inference-header-content-length"

LENGTH_BYTES = 4


def pictures(message: Mapping[str, Any], binary: Data, most: int) -> list[Data | Pixels]:
    """What a request's input holds.

    Args:
        message: the JSON part.
        binary: what follows it.
        most: so many pictures, and no more.

    Raises:
        RequestError: 400 for another number of inputs, or one whose datatype, shape and data are
            not as above; 413 for too many pictures.
    """
    inputs = message["inputs"]
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise bad_request("expected one input, with the pictures in it")
    (tensor,) = inputs
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(
        isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in shape
    ):
        raise bad_request(f"inputs[0].shape: expected whole numbers from 1, got {shape!r}")
    datatype = tensor.get("datatype")
    if datatype == "BYTES" and len(shape) == 1:
        count = shape[0]
    elif datatype == "UINT8" and len(shape) in (3, 4) and shape[-1] == 3:
        count = 1 if len(shape) == 3 else shape[0]
    else:
        raise bad_request(
            "inputs[0]: expected BYTES of shape [N], or UINT8 of shape [N, height, width, 3], got "
            f"{datatype!r} of shape {shape}"
        )
    if count > most:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"expected at most {most} pictures, got {count}; split the request",
        )
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and size != len(binary):
        raise bad_request(f"inputs[0]: expected {size} bytes of binary data, got {len(binary)}")
    if datatype == "BYTES":
        files = _elements(binary) if size is not None else _decoded(tensor.get("data"))
        found: list[Data | Pixels] = list(islice(files, count + 1))
        if len(found) != count:
            got = "more" if len(found) > count else len(found)
            raise bad_request(f"inputs[0]: expected {count} elements, as in its shape, got {got}")
        return found
    pixels = _pixels(binary if size is not None else tensor.get("data"), math.prod(shape))
    return list(pixels.reshape(count, *shape[-3:]))


def answer(
    found: Sequence[Sequence[Prediction]], id: str | None, model: str, version: str
) -> dict[str, Any]:
    """The message for the predictions of each picture."""
    shape = [len(found), len(found[0])]
    every = [prediction for one in found for prediction in one]
    labels = [prediction.label for prediction in every]
    probabilities = [round(prediction.probability, 6) for prediction in every]
    return {
        "model_name": model,
        "model_version": version,
        **({} if id is None else {"id": id}),
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": shape, "data": labels},
            {"name": "probability", "datatype": "FP32", "shape": shape, "data": probabilities},
        ],
    }


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
        try:
            numbers = np.asarray(data)
        except ValueError:  # lists of different lengths
            numbers = np.empty(0)
        if numbers.dtype.kind != "i" or numbers.min() < 0 or numbers.max() > 255:
            raise bad_request("inputs[0].data: expected whole numbers from 0 to 255, in even lists")
        pixels = numbers.astype(np.uint8).ravel()
    if pixels.size != count:
        raise bad_request(
            f"inputs[0]: expected {count} numbers, as in its shape, got {pixels.size}"
        )
    return pixels
