import logging
import socket
import struct
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ts.protocol import otf_message_handler

from falconet.handler import wire

OWN = otf_message_handler._retrieve_inference_msg

text = st.text(st.characters(codec="ascii"), max_size=20).map(str.encode)
request = st.fixed_dictionaries(
    {
        "id": text,
        "headers": st.lists(st.tuples(text, text), max_size=4),
        "parameters": st.lists(st.tuples(text, text, st.binary(max_size=300)), max_size=3),
    }
)


def integer(value: int) -> bytes:
    return struct.pack("!i", value)


def field(value: bytes) -> bytes:
    return integer(len(value)) + value


def encode(requests: list[dict[str, Any]]) -> bytes:
    """A batch as TorchServe's frontend sends it, after the byte that names the command."""
    message = b""
    for each in requests:
        message += field(each["id"])
        for name, value in each["headers"]:
            message += field(name) + field(value)
        message += integer(-1)
        for name, content_type, value in each["parameters"]:
            message += field(name) + field(content_type) + field(value)
        message += integer(-1)
    return message + integer(-1)


def read(function: Any, message: bytes, piece: int) -> Any:
    """What a function reads of a message that arrives in pieces."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        for start in range(0, len(message), piece):
            theirs.sendall(message[start : start + piece])

    with ours, theirs:
        sender = threading.Thread(target=send)
        sender.start()
        found = function(ours)
        sender.join()
    return found


@given(st.lists(request, max_size=3), st.sampled_from([1, 7, 100, 10_000]))
def test_reads_what_torchserve_reads(requests: list[dict[str, Any]], piece: int) -> None:
    message = encode(requests)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TS_DECODE_INPUT_REQUEST", "false")
        expected = read(OWN, message, len(message))
    assert read(wire.read_batch, message, piece) == expected


def test_a_large_image() -> None:
    image = bytes(range(256)) * 40_000
    parameters = [(b"body", b"image/jpeg", image)]
    message = encode([{"id": b"1", "headers": [(b"a", b"b")], "parameters": parameters}] * 2)
    batch = read(wire.read_batch, message, 1 << 20)
    assert [each["parameters"][0]["value"] for each in batch] == [image, image]


@pytest.mark.parametrize("cut", [0, 3, 30])
def test_a_frontend_that_is_gone_ends_the_worker(cut: int) -> None:
    parameters = [(b"body", b"image/jpeg", b"x" * 100)]
    message = encode([{"id": b"1", "headers": [], "parameters": parameters}])
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(message[:cut])
        theirs.close()
        with pytest.raises(SystemExit) as ended:
            wire.read_batch(ours)
    assert ended.value.code == 0


def test_torchserve_reads_by_it(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(otf_message_handler, "_retrieve_inference_msg", OWN)
        root = logging.getLogger()
        filters = list(root.filters)
        wire.install()
        try:
            message = b"I" + encode([{"id": b"1", "headers": [], "parameters": []}])
            with caplog.at_level(logging.INFO):
                command, batch = read(otf_message_handler.retrieve_msg, message, 100)
                logging.info("something else")
        finally:
            root.filters[:] = filters
    assert (command, [each["requestId"] for each in batch]) == (b"I", [b"1"])
    assert [record.message for record in caplog.records] == ["something else"]
