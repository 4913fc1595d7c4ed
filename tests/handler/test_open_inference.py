import base64
import json
from http import HTTPStatus
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falconet.handler import answer, reading
from falconet.handler.answer import Served
from falconet.handler.budget import IMAGES
from falconet.handler.classifier import Prediction
from falconet.handler.errors import RequestError
from falconet.handler.open_inference import OpenInference
from falconet.handler.request import Request


def with_lengths(files: list[bytes]) -> bytes:
    return b"".join(len(file).to_bytes(4, "little") + file for file in files)


FILES = [b"\x89PNG some bytes", b"\xff\xd8\xff others"]
TEXTS = [base64.b64encode(file).decode() for file in FILES]
BINARY = with_lengths(FILES)
PIXELS = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)


def read(tensor: Any, binary: bytes = b"", **more: Any) -> Request:
    """A request as it comes from the socket, its binary data after the JSON."""
    message = json.dumps({"inputs": tensor if isinstance(tensor, list) else [tensor], **more})
    headers = {"Inference-Header-Content-Length": str(len(message))} if binary else {}
    return reading.read({"body": bytearray(message.encode() + binary)}, headers)


def tensor(datatype: str, shape: Any, data: Any = None, size: int | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"name": "image", "datatype": datatype, "shape": shape}
    if data is not None:
        made["data"] = data
    if size is not None:
        made["parameters"] = {"binary_data_size": size}
    return made


def test_files_in_json_and_in_binary_data() -> None:
    for request in (
        read(tensor("BYTES", [2], TEXTS)),
        read(tensor("BYTES", [2], size=len(BINARY)), BINARY),
    ):
        assert isinstance(request, OpenInference)
        assert [bytes(file) for file in request.images()] == FILES
        assert request.name(1) == "inputs[0][1]: "


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[0]])
def test_pixels_in_json_and_in_binary_data(pixels: np.ndarray) -> None:
    shape, size = list(pixels.shape), pixels.size
    for request in (
        read(tensor("UINT8", shape, pixels.tolist())),
        read(tensor("UINT8", shape, pixels.ravel().tolist())),
        read(tensor("UINT8", shape, size=size), pixels.tobytes()),
    ):
        np.testing.assert_array_equal(request.images(), pixels.reshape(-1, 3, 4, 3))


@pytest.mark.parametrize(
    ("tensors", "binary", "message"),
    [
        ([], b"", "expected one input"),
        ([tensor("BYTES", [1], TEXTS[:1])] * 2, b"", "expected one input"),
        ([7], b"", "expected one input"),
        (tensor("BYTES", "2", TEXTS), b"", r"shape: expected whole numbers from 1, got '2'"),
        (tensor("BYTES", [0], []), b"", r"shape: expected whole numbers from 1, got \[0\]"),
        (tensor("BYTES", [True], TEXTS[:1]), b"", "shape: expected whole numbers from 1"),
        (tensor("UINT8", [1, 10**4000, 10**4000, 3], [1]), b"", "expected whole numbers from 1"),
        (tensor("BYTES", [1], size="\ud800"), b"", "expected .* bytes of binary data, got 0"),
        (tensor("UINT8", [1, 1, 3], ["x" * 1000, "", ""]), b"", "whole numbers from 0 to 255"),
        (tensor("UINT8", [1, 1, 3], [[[0, 1, 2]], 1]), b"", "whole numbers from 0 to 255"),
        (tensor("BYTES", [2, 1], TEXTS), b"", r"BYTES of shape \[N\].* got 'BYTES' of shape"),
        (tensor("UINT8", [1, 3, 4], [0] * 12), b"", r"got 'UINT8' of shape \[1, 3, 4\]"),
        (tensor("FP32", [1, 3, 4, 3], [0] * 36), b"", "got 'FP32' of shape"),
        (tensor("BYTES", [3], TEXTS), b"", "expected 3 elements, as in its shape, got 2"),
        (tensor("BYTES", [1], TEXTS), b"", "expected 1 elements, as in its shape, got more"),
        (tensor("BYTES", [1]), b"", "expected a list of files in base64"),
        (tensor("BYTES", [2], [TEXTS[0], "ab!"]), b"", r"data\[1\]: not valid base64"),
        (tensor("BYTES", [1], [7]), b"", r"data\[0\]: not valid base64"),
        (
            tensor("BYTES", [2], size=9),
            BINARY,
            "expected 9 bytes of binary data, got 33",
        ),
        (tensor("BYTES", [1], size=3), b"\1\0\0", "longer than what is left"),
        (tensor("BYTES", [1], size=6), b"\3\0\0\0ab", "longer than what is left"),
        (tensor("UINT8", [1, 1, 3], [0, 256, 0]), b"", "whole numbers from 0 to 255"),
        (tensor("UINT8", [1, 1, 3], [0, -1, 0]), b"", "whole numbers from 0 to 255"),
        (tensor("UINT8", [1, 1, 3], [0.5] * 3), b"", "whole numbers from 0 to 255"),
        (tensor("UINT8", [1, 1, 3], [[0, 1], [2]]), b"", "whole numbers from 0 to 255"),
        (tensor("UINT8", [1, 1, 3], [10**30] * 3), b"", "whole numbers from 0 to 255"),
        (tensor("UINT8", [1, 1, 3], []), b"", "whole numbers from 0 to 255"),
        (tensor("UINT8", [1, 1, 3]), b"", "whole numbers from 0 to 255"),
        (tensor("UINT8", [1, 1, 3], [0] * 4), b"", "expected 3 numbers, as in its shape, got 4"),
    ],
)
def test_what_is_wrong_is_said(tensors: Any, binary: bytes, message: str) -> None:
    request = read(tensors, binary)
    with pytest.raises(RequestError, match=message) as caught:
        request.images()
    assert caught.value.status == HTTPStatus.BAD_REQUEST
    assert request.failure(caught.value) == {"error": caught.value.message}


@pytest.mark.parametrize("length", ["x", "-1", "999999", "9" * 5000, "\u0661"])
def test_a_wrong_length_of_the_json(length: str) -> None:
    headers = {"Inference-Header-Content-Length": length}
    with pytest.raises(RequestError, match="expected a number up to the body's 14"):
        reading.read({"body": b'{"inputs": []}'}, headers)


def test_the_number_of_images_is_bounded() -> None:
    for made in (
        tensor("BYTES", [IMAGES + 1], TEXTS[:1] * (IMAGES + 1)),
        tensor("UINT8", [IMAGES + 1, 1, 1, 3], [0] * 3 * (IMAGES + 1)),
    ):
        with pytest.raises(RequestError, match="at most 128 images, got 129") as caught:
            read(made).images()
        assert caught.value.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.binary(max_size=60))
def test_files_with_their_lengths_are_read_and_any_other_data_is_refused(
    files: list[bytes], other: bytes
) -> None:
    good = with_lengths(files)
    request = read(tensor("BYTES", [len(files)], size=len(good)), good)
    assert [bytes(file) for file in request.images()] == files
    for binary in (good[:-1], good + other[:3], other):
        request = read(tensor("BYTES", [len(files)], size=len(binary)), binary)
        try:
            found = [bytes(file) for file in request.images()]
        except RequestError:
            continue
        assert (len(found), with_lengths(found)) == (len(files), binary)


def test_an_answer() -> None:
    found = [[Prediction("cat", 0.75, 0), Prediction("dog", 0.25, 1)]] * 2
    request = read(tensor("BYTES", [2], TEXTS), id="mine")
    made = json.loads(answer.encode(request.success(found, Served("pets", "1.0"))))
    assert made == {
        "model_name": "pets",
        "model_version": "1.0",
        "id": "mine",
        "outputs": [
            {
                "name": "label",
                "datatype": "BYTES",
                "shape": [2, 2],
                "data": ["cat", "dog", "cat", "dog"],
            },
            {
                "name": "probability",
                "datatype": "FP32",
                "shape": [2, 2],
                "data": [0.75, 0.25, 0.75, 0.25],
            },
        ],
    }
    assert "id" not in read([]).success(found, Served("pets", "1.0"))


def test_an_id_comes_back_and_may_not_be_long() -> None:
    request = read(tensor("BYTES", [1], TEXTS[:1]), id="x" * 1001)
    with pytest.raises(RequestError, match="id: expected at most 1000 characters"):
        request.images()


def test_an_id_that_is_no_text_comes_back_as_it_was() -> None:
    """Half of a surrogate pair, which JSON can say and UTF-8 cannot."""
    found = [[Prediction("cat", 1.0, 0)]]
    request = read(tensor("BYTES", [1], TEXTS[:1]), id="\ud800")
    made = answer.encode(request.success(found, Served("pets", "1.0")))
    assert json.loads(made)["id"] == "\ud800"
