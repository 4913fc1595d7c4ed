import base64
import json
from http import HTTPStatus
from typing import Any

import pytest

from falconet.handler.errors import RequestError
from falconet.handler.request import MAX_PICTURES, Request, parse

PICTURE = b"\x89PNG some bytes"
B64 = base64.b64encode(PICTURE).decode()
KSERVE = {"instances": [{"b64": B64}, {"b64": B64}]}


@pytest.mark.parametrize("field", ["image", "data", "body"])
def test_a_picture_as_body_or_form_field(field: str) -> None:
    data = bytearray(PICTURE)
    request = parse({field: data, "comment": b"mine"}, {})
    assert (request.protocol, request.pictures()) == ("plain", [data])


@pytest.mark.parametrize(
    "body", [json.dumps(KSERVE).encode(), bytearray(b" \n" + json.dumps(KSERVE).encode()), KSERVE]
)
def test_kserve_json_decoded_by_us_or_by_torchserve(body: Any) -> None:
    request = parse({"body": body}, {})
    assert (request.protocol, request.pictures()) == ("v1", [PICTURE, PICTURE])
    assert request.name(1) == "instances[1]: "


def test_text_decoded_by_torchserve_goes_on_as_bytes() -> None:
    assert parse({"body": "hello"}, {}) == Request("plain", b"hello")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, r"curl -T FILE.*got nothing"),
        ({"file": b"x", "a": b"y"}, r"got the fields \['a', 'file'\]"),
        ({"body": b'{"instances": '}, "looks like JSON, but cannot be read"),
        ({"body": b'{"\xff"}'}, "looks like JSON, but cannot be read"),
        ({"body": b'{"a":' + b"[" * 200_000}, "looks like JSON, but cannot be read"),
        ({"body": b"{}"}, 'expected JSON like {"instances"'),
        ({"body": {"instances": []}}, 'expected JSON like {"instances"'),
        ({"body": [1]}, 'expected JSON like {"instances"'),
        ({"body": {"instances": [{"b64": B64}, 7]}}, r'instances\[1\]: expected {"b64"'),
        ({"body": {"instances": [{"b64": None}]}}, r'instances\[0\]: expected {"b64"'),
        ({"body": {"instances": [{"b64": "ab!"}]}}, r"instances\[0\]: not valid base64"),
        ({"body": {"instances": [{"b64": "é"}]}}, r"instances\[0\]: not valid base64"),
    ],
)
def test_what_is_wrong_is_said(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        parse(fields, {}).pictures()
    assert caught.value.status == HTTPStatus.BAD_REQUEST


def test_a_message_does_not_repeat_all_that_was_sent() -> None:
    with pytest.raises(RequestError) as caught:
        parse({"x" * 1_000_000: b""}, {})
    assert len(caught.value.message) == 500


def test_the_number_of_instances_is_bounded() -> None:
    most = [{"b64": B64}] * MAX_PICTURES
    assert len(parse({"body": {"instances": most}}, {}).pictures()) == MAX_PICTURES
    with pytest.raises(RequestError, match="at most 128 instances, got 129") as caught:
        parse({"body": {"instances": [*most, {"b64": B64}]}}, {}).pictures()
    assert caught.value.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
