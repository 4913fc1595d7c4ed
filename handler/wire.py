"""Reading TorchServe's batches from its socket in large pieces.

TorchServe 0.12 calls ``recv`` for every field, some forty times for each request.
"""

import logging
import socket
import struct
import sys
from typing import Any

from ts.protocol import otf_message_handler

END = -1  # in place of a length
PIECE = 1 << 16  # bytes, at least, to ask for
EVERY_BATCH = ("Backend received inference at", "[METRICS]PredictionTime")
_INTEGER = struct.Struct("!i")


def install() -> None:
    """Have TorchServe's worker read by :func:`read_batch`, and say nothing of each batch.

    Its name for it is private; the dependency on TorchServe is pinned, and a test compares both.
    """
    otf_message_handler._retrieve_inference_msg = read_batch
    logging.getLogger().addFilter(_worth_logging)
    logging.getLogger("ts.metrics.caching_metric").addFilter(_worth_logging)


def read_batch(connection: socket.socket) -> list[dict[str, Any]]:
    """The requests of a batch, up to its end.

    As TorchServe's own function gives them, but that values are never decoded: the handler does it.
    TorchServe sends nothing after a batch before it is answered, so all that arrives belongs to it.
    """
    stream = _Stream(connection)
    requests = []
    while (length := stream.integer()) != END:
        request: dict[str, Any] = {"requestId": stream.take(length), "headers": []}
        while (length := stream.integer()) != END:
            name = stream.take(length)
            request["headers"].append({"name": name, "value": stream.take(stream.integer())})
        request["parameters"] = []
        while (length := stream.integer()) != END:
            name = stream.take(length)
            content_type = stream.take(stream.integer())
            request["parameters"].append(
                {
                    "name": name.decode(),
                    "contentType": content_type.decode(),
                    "value": stream.take(stream.integer()),
                }
            )
        requests.append(request)
    return requests


class _Stream:
    """What has arrived and has not been taken."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._at = 0

    def take(self, length: int) -> bytearray:
        start = self._at
        if length > PIECE and start + length > len(self._buffer):
            return self._take_large(length)
        self._at += length
        if self._at > len(self._buffer):
            self._fill()
        return self._buffer[start : self._at]

    def integer(self) -> int:
        start = self._at
        self._at += _INTEGER.size
        if self._at > len(self._buffer):
            self._fill()
        (value,) = _INTEGER.unpack_from(self._buffer, start)
        assert isinstance(value, int)
        return value

    def _take_large(self, length: int) -> bytearray:
        """Straight to where it stays: a batch of images would be held twice."""
        arrived = self._buffer[self._at :]
        self._buffer, self._at = bytearray(), 0
        taken = bytearray(length)
        view, at = memoryview(taken), len(arrived)
        view[:at] = arrived
        while at < length:
            at += self._received(self._connection.recv_into(view[at:]))
        return taken

    def _fill(self) -> None:
        while (missing := self._at - len(self._buffer)) > 0:
            piece = self._connection.recv(max(missing, PIECE))
            self._received(len(piece))
            self._buffer += piece

    def _received(self, count: int) -> int:
        if count == 0:
            logging.info("Frontend disconnected.")
            sys.exit(0)  # as TorchServe does; its frontend starts another worker if needed
        return count


def _worth_logging(record: logging.LogRecord) -> bool:
    """False for the lines of every batch, which TorchServe's frontend would read and log."""
    return not str(record.msg).startswith(EVERY_BATCH)
