"""A server that gives the responses it is told to, one after the other."""

import json
import threading
import time
from collections.abc import Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Response(NamedTuple):
    """What it answers, after some seconds; without a status it closes the connection."""

    status: int | None
    body: bytes = b"{}"
    headers: Mapping[str, str] = {}
    seconds: float = 0.0


class Asked(NamedTuple):
    """What it was sent."""

    path: str
    headers: Message
    body: bytes


def predictions(*labels: str, model: str = "pets", version: str = "1.0") -> bytes:
    """The body of a response with one class for each image."""
    shape = [len(labels), 1]
    return json.dumps(
        {
            "model_name": model,
            "model_version": version,
            "outputs": [
                {"name": "label", "datatype": "BYTES", "shape": shape, "data": labels},
                {
                    "name": "probability",
                    "datatype": "FP32",
                    "shape": shape,
                    "data": [0.5] * len(labels),
                },
            ],
        }
    ).encode()


class Scripted:
    """Answers with status 200 when it has nothing left to say.

    Attributes:
        asked: all requests so far.
    """

    def __init__(self, *responses: Response) -> None:
        self.asked: list[Asked] = []
        left = list(responses)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(handler) -> None:  # noqa: N805
                body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
                self.asked.append(Asked(handler.path, handler.headers, body))
                response = left.pop(0) if left else Response(200)
                time.sleep(response.seconds)
                if response.status is None:
                    handler.close_connection = True
                    return
                handler.send_response(response.status)
                for name, value in response.headers.items():
                    handler.send_header(name, value)
                handler.send_header("Content-Length", str(len(response.body)))
                handler.end_headers()
                handler.wfile.write(response.body)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Scripted":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
