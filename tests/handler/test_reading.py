import base64
import gzip
import json
from http import HTTPStatus
from typing import Any

import pytest

from falconet.handler.budget import IMAGES, JSON_NODES, UNPACKED_BYTES
from falconet.handler.errors import RequestError
from falconet.handler.instances import Instances
from falconet.handler.plain import Plain
from falconet.handler.reading import read

IMAGE = b"\x89PNG some bytes"
B64 = base64.b64encode(IMAGE).decode()
KSERVE = {"instances": [{"b64": B64}, {"b64": B64}]}


@pytest.mark.parametrize("field", ["image", "data", "body"])
def test_a_image_as_body_or_form_field(field: str) -> None:
    data = bytearray(IMAGE)
    request = read({field: data, "comment": b"mine"}, {})
    assert isinstance(request, Plain)
    assert request.images() == [data]


def test_the_only_field_of_a_form_is_the_image() -> None:
    assert read({"file": IMAGE}, {}).images() == [IMAGE]


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(KSERVE).encode(),
        bytearray(b" \n" + json.dumps(KSERVE).encode()),
        b"\xef\xbb\xbf" + json.dumps(KSERVE).encode(),
        KSERVE,
        {"instances": [{"image_bytes": {"b64": B64}}, {"data": B64}]},
        {"instances": [{"key": "1", "input": {"b64": B64}}, {"b64": B64, "more": {"b64": 1}}]},
    ],
)
def test_kserve_json_decoded_by_us_or_by_torchserve(body: Any) -> None:
    request = read({"body": body}, {})
    assert isinstance(request, Instances)
    assert request.images() == [IMAGE, IMAGE]
    assert request.name(1) == "instances[1]: "


def test_text_in_base64() -> None:
    """TorchServe decodes text, and JSON that is one string."""
    data = b"\xff\xd8\xff\xe0" + bytes(100)
    assert read({"body": base64.b64encode(data).decode()}, {}).images() == [data]


@pytest.mark.parametrize("field", ["image", "file"])
def test_a_part_of_a_form_in_base64(field: str) -> None:
    """TorchServe takes no notice of Content-Transfer-Encoding; a body has none."""
    data = b"\xff\xd8\xff\xe0" + bytes(100)
    text = base64.encodebytes(data)
    assert read({field: bytearray(text)}, {}).images() == [data]
    assert read({"body": text}, {}).images() == [text]


LONG = bytes(range(256))
TEXT = base64.b64encode(LONG).decode()


@pytest.mark.parametrize(
    "text",
    [
        "data:image/png;base64," + TEXT,
        "DATA:;base64," + TEXT,
        "\r\n".join(TEXT[i : i + 76] for i in range(0, len(TEXT), 76)),
        base64.urlsafe_b64encode(LONG).decode(),
        TEXT.rstrip("="),
        base64.encodebytes(LONG).decode(),
    ],
)
def test_base64_as_clients_write_it(text: str) -> None:
    assert read({"body": {"instances": [{"b64": text}]}}, {}).images() == [LONG]


def test_text_decoded_by_torchserve_goes_on_as_bytes() -> None:
    assert read({"body": "hello"}, {}).images() == [b"hello"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, r"curl -T FILE.*got nothing"),
        ({"file": b"x", "a": b"y"}, r"got the fields \['a', 'file'\]"),
        ({"body": b'{"instances": '}, "looks like JSON, but cannot be read"),
        ({"body": b'{"\xff"}'}, "looks like JSON, but cannot be read"),
        ({"body": b'{"a":' + b"[" * 200_000}, "looks like JSON, but cannot be read"),
        ({"body": b'{"a": ' + b"9" * 5000 + b"}"}, "looks like JSON, but cannot be read"),
        ({"body": b"{}"}, 'expected JSON like {"instances"'),
        ({"body": b'["' + B64.encode() + b'"]'}, 'expected JSON like {"instances"'),
        ({"body": {"instances": []}}, 'expected JSON like {"instances"'),
        ({"body": [1]}, 'expected JSON like {"instances"'),
        ({"body": {"instances": [{"b64": B64}, 7]}}, r'instances\[1\]: expected {"b64"'),
        ({"body": {"instances": [{"b64": None}]}}, r'instances\[0\]: expected {"b64"'),
        ({"body": {"instances": [{"b64": "ab!"}]}}, r"instances\[0\]: not valid base64"),
        ({"body": {"instances": [{"b64": "é"}]}}, r"instances\[0\]: not valid base64"),
        ({"body": {"instances": [{"b64": "data:image/png,ab"}]}}, r"expected data:image/"),
        ({"body": {"instances": [{"b64": "data:"}]}}, r"expected data:image/"),
    ],
)
def test_what_is_wrong_is_said(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        read(fields, {}).images()
    assert caught.value.status == HTTPStatus.BAD_REQUEST


def test_a_message_does_not_repeat_all_that_was_sent() -> None:
    with pytest.raises(RequestError) as caught:
        read({"x" * 1_000_000: b"", "y": b""}, {})
    assert len(caught.value.message) <= 500


def test_a_message_can_be_answered() -> None:
    """Half of a surrogate pair is no text in UTF-8."""
    assert RequestError(HTTPStatus.BAD_REQUEST, "got \ud800").message == "got ?"


def test_the_number_of_instances_is_bounded() -> None:
    most = [{"b64": B64}] * IMAGES
    assert len(read({"body": {"instances": most}}, {}).images()) == IMAGES
    with pytest.raises(RequestError, match="at most 128 instances, got 129") as caught:
        read({"body": {"instances": [*most, {"b64": B64}]}}, {}).images()
    assert caught.value.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


@pytest.mark.parametrize("node", [b"{},", b"[],", b"1,"])
def test_the_values_of_json_are_bounded_before_they_are_made(node: bytes) -> None:
    body = b'{"instances":[' + node * JSON_NODES + b"0]}"
    with pytest.raises(RequestError, match="expected JSON of at most 1000000 values") as caught:
        read({"body": body}, {})
    assert caught.value.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def test_a_compressed_body() -> None:
    headers = {"Content-Encoding": "GZIP"}
    assert read({"body": gzip.compress(IMAGE)}, headers).images() == [IMAGE]
    assert read({"body": IMAGE}, {"Content-Encoding": "identity"}).images() == [IMAGE]
    whole = gzip.compress(json.dumps(KSERVE).encode())
    assert len(read({"body": whole}, headers).images()) == 2
    for body, message in (
        (IMAGE, "expected gzip: "),
        (whole[:-9], "and all of it"),
        (whole * 2, "in one piece"),
        (gzip.compress(bytes(UNPACKED_BYTES + 1)), "got more when unpacked"),
    ):
        with pytest.raises(RequestError, match=message):
            read({"body": body}, headers)
    with pytest.raises(RequestError, match="expected gzip, or none, got 'br'") as caught:
        read({"body": IMAGE}, {"content-encoding": "br"})
    assert caught.value.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE
