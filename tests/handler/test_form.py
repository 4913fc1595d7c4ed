"""Multipart forms, as clients write them and as they should not."""

from http import HTTPStatus

import pytest
import requests

from falconet.handler import reading
from falconet.handler.budget import FORM_PARTS
from falconet.handler.errors import RequestError
from falconet.handler.form import read

TYPE = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n'


def test_as_requests_writes_it() -> None:
    files = {"image": ("a.jpg", b"\r\n--\r\nimage\r\n", "image/jpeg"), "comment": (None, "mine")}
    sent = requests.Request("POST", "http://x", files=files).prepare()
    assert isinstance(sent.body, bytes)
    found = read(bytearray(sent.body), sent.headers["Content-Type"])
    expected = {"image": b"\r\n--\r\nimage\r\n", "comment": b"mine"}
    assert {name: bytes(value) for name, value in found.items()} == expected


@pytest.mark.parametrize(
    ("type", "body"),
    [
        (TYPE, PART + b"x\r\n--b--\r\n"),
        (TYPE, PART + b"x\r\n--b--"),
        (TYPE, b"to be ignored\r\n" + PART + b"x\r\n--b--\r\nlikewise"),
        (TYPE, PART + b"another of that name\r\n" + PART + b"x\r\n--b--"),
        ('Multipart/Form-Data; charset=utf-8; Boundary="b"', PART + b"x\r\n--b--"),
        (TYPE, b"--b\r\nX: y\r\ncontent-disposition:form-data;name=image\r\n\r\nx\r\n--b--"),
        (TYPE, PART.replace(b'; name="image"', b'; filename="f"; name="image"') + b"x\r\n--b--"),
        (TYPE, PART.replace(b'"image"', b'"image"; filename="a; name=b.jpg"') + b"x\r\n--b--"),
        (TYPE, PART.replace(b"form-data", b'form-data; filename="a\\"; name=b"') + b"x\r\n--b--"),
        (TYPE, (PART + b"x\r\n--b--\r\n").replace(b"\r\n", b"\n")),
        (TYPE, (b"before\r\n" + PART + b"x\r\n--b--\r\n").replace(b"\r\n", b"\n")),
        (TYPE, PART[:-2] + b"Content-Transfer-Encoding: BASE64\r\n\r\neA==\r\n--b--"),
    ],
)
def test_forms_of_other_clients(type: str, body: bytes) -> None:
    found = read(body, type)
    assert {name: bytes(value) for name, value in found.items()} == {"image": b"x"}


@pytest.mark.parametrize(
    ("type", "body", "message"),
    [
        ("multipart/form-data", PART, "expected a boundary in its type, got 'multipart/form-data'"),
        ("multipart/form-data; boundary=", PART, "expected a boundary"),
        ("multipart/form-data; boundary=c", PART + b"x\r\n--b--", r"ends without .*--c"),
        (TYPE, b"", r"ends without .*--b"),
        (TYPE, b"no form at all", r"ends without .*--b"),
        (TYPE, PART[:-2], r"ends without .*after byte 3"),
        (TYPE, PART + b"cut off", r"ends without .*--b"),
        (TYPE, b"--b\r\n\r\nx\r\n--b--", "expected a name"),
        (TYPE, PART.replace(b"image", b"") + b"x\r\n--b--", "expected a name"),
        (
            TYPE,
            PART[:-2] + b"Content-Transfer-Encoding: base64\r\n\r\ne\r\n--b--",
            "not valid base64",
        ),
        (
            TYPE,
            PART[:-2] + b"X: y\r\n" * 4000 + b"\r\nx\r\n--b--",
            "at most 16384 bytes of headers",
        ),
        (TYPE, (PART + b"x\r\n") * (FORM_PARTS + 1) + b"--b--", "at most 100 parts"),
    ],
)
def test_what_is_wrong_is_said(type: str, body: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        read(body, type)
    assert caught.value.status == HTTPStatus.BAD_REQUEST


def test_a_form_that_comes_as_a_body() -> None:
    body = bytearray(PART + b"image\r\n--b--")
    request = reading.read({"body": body}, {"X-Form-Type": TYPE})
    (found,) = request.images()
    assert bytes(found) == b"image"
    two = PART.replace(b"image", b"a") + b"x\r\n" + PART.replace(b"image", b"b") + b"y\r\n--b--"
    with pytest.raises(RequestError, match=r"got the fields \['a', 'b'\]"):
        reading.read({"body": two}, {"x-form-type": TYPE})
    # One that TorchServe has read already.
    assert reading.read({"image": b"x"}, {"X-Form-Type": TYPE}).images() == [b"x"]
