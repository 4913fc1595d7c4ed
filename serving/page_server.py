"""The page to try the models in, for a server on this machine without a gateway."""

import contextlib
import http.client
import json
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from falconet.handler import CLASS_HEADER
from falconet.handler.server_timing import HEADER as TIMING_HEADER
from falconet.handler.server_timing import START_HEADER, VERSION_HEADER

from .configuration import CONF
from .errors import ServerError
from .limits import Limits
from .metadata import index, metadata
from .nginx_files import PAGE
from .ports import HOST
from .record import Record
from .store import FOLDER as STORE
from .store import NAME

MAX_BODY = 20 << 20  # bytes; as the gateway, and max_request_size in config.properties
TIMEOUT_SECONDS = Limits().timeout
# Names of this machine, by which no website can be called: another name that leads here belongs to
# a website whose script pretends to be of the page's origin (DNS rebinding).
LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)
ASKED = re.compile(rf"/(predictions|explanations)/{NAME.pattern}(/{NAME.pattern})?")
RETURNED = ("Content-Type", TIMING_HEADER, VERSION_HEADER)
DRAINED = 256 << 20  # bytes; a browser reads a response only when it has sent its request
READ_SIZE = 1 << 16
NGINX = CONF / "nginx-page.conf"


class Files:
    """The page's files as a browser gets them: as at the gateway, by nginx-page.conf.

    Attributes:
        content: by path, the type and the content.
        headers: of each of them.
    """

    def __init__(self) -> None:
        conf = NGINX.read_text()
        headers = re.findall(r'^add_header (\S+) (?:"([^"]+)"|(\S+)) always;$', conf, re.MULTILINE)
        (listed,) = re.findall(r"^types \{(.*)\}$", conf, re.MULTILINE)
        types = {end: kind for kind, end in re.findall(r"(\S+) (\S+);", listed)}
        self.headers = {name: quoted or plain for name, quoted, plain in headers}
        self.content = {
            f"/page/{path.name}": (f"{types[path.suffix[1:]]}; charset=utf-8", path.read_bytes())
            for path in PAGE.iterdir()
            if path.suffix[1:] in types
        }
        self.content["/"] = self.content["/page/index.html"]


class PageServer(ThreadingHTTPServer):
    """Serves the page, lists the models, and passes requests for predictions on to TorchServe.

    It listens on loopback alone, has no keys, and answers only requests that name this machine as
    their host.

    Args:
        port: to listen on; 0 is any free one.
        state: the folder of the server's state.

    Attributes:
        inference: TorchServe's port; ``None`` before it is known.

    Raises:
        ServerError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, port: int, state: Path) -> None:
        self.state = state
        self.files = Files()
        self.inference: int | None = None
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise ServerError(
                f"port {port} cannot be used for the page: {error.strerror}; choose another one "
                "with --page-port, or 0 for any free one"
            ) from error

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a browser has closed its connection."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def index(self) -> dict[str, Any]:
        """The models that the server's record names, as ``/v2/models`` lists them.

        Raises:
            ServerError: there are none, or the record or an archive cannot be read.
        """
        records = {k: v for k, v in Record.load(self.state).items() if v.admitted}
        if not records:
            raise ServerError("no model is served here")
        try:
            return index(next(iter(records)), metadata(self.state / STORE, records))
        except (OSError, ValueError, LookupError, BadZipFile) as error:
            raise ServerError(f"the models cannot be read: {error}") from error


@contextmanager
def serve_page(port: int, state: Path) -> Iterator[PageServer]:
    """A :class:`PageServer` that runs; raises as it does."""
    server = PageServer(port, state)
    thread = threading.Thread(target=server.serve_forever, name="page")
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection of a browser."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_SECONDS
    disable_nagle_algorithm = True  # headers and body are written one after the other

    def do_GET(self) -> None:
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # its body is not read
        if not self._named_rightly():
            return
        if self.path in self.server.files.content:
            kind, content = self.server.files.content[self.path]
            self._send(HTTPStatus.OK, content, {"Content-Type": kind})
        elif self.path == "/v2/models":
            try:
                found = json.dumps(self.server.index()).encode()
            except ServerError as error:
                self._fail(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            else:
                self._send(HTTPStatus.OK, found, {"Content-Type": "application/json"})
        elif ASKED.fullmatch(self.path):
            self._fail(HTTPStatus.METHOD_NOT_ALLOWED, "expected POST")
        else:
            self._fail(HTTPStatus.NOT_FOUND, "unknown path; use /predictions/MODEL")

    def do_POST(self) -> None:
        # What has a body that is not read leaves nothing to read the next request from.
        self.close_connection = True
        if not self._named_rightly() or not self._from_page():
            return
        lengths = self.headers.get_all("Content-Length", [])
        length = lengths[0] if len(lengths) == 1 else ""
        if not ASKED.fullmatch(self.path):
            self._fail(HTTPStatus.NOT_FOUND, "unknown path; use /predictions/MODEL")
        elif not re.fullmatch("[0-9]{1,18}", length) or "Transfer-Encoding" in self.headers:
            self._fail(HTTPStatus.LENGTH_REQUIRED, "expected a body with Content-Length")
        elif int(length) > MAX_BODY:
            self._drain(min(int(length), DRAINED))
            self._fail(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"expected a body of at most {MAX_BODY} bytes, got {length}",
            )
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                self.close_connection = False
                self._pass_on(body)

    def _pass_on(self, body: bytes) -> None:
        """Ask TorchServe, and give back what it answers."""
        headers = {
            "Content-Type": "application/octet-stream",
            START_HEADER: f"t={time.time():.3f}",
        }
        label = self.headers.get(CLASS_HEADER)
        if label is not None:
            if not (label.isascii() and label.isprintable()):
                self._fail(
                    HTTPStatus.BAD_REQUEST, f"{CLASS_HEADER}: expected a percent-encoded label"
                )
                return
            headers[CLASS_HEADER] = label
        if self.server.inference is None:
            self._unavailable()
            return
        asking = http.client.HTTPConnection(HOST, self.server.inference, timeout=TIMEOUT_SECONDS)
        with contextlib.closing(asking):
            try:
                asking.request("POST", self.path, body, headers)
                answer = asking.getresponse()
                content = answer.read()
            except TimeoutError:
                self._fail(
                    HTTPStatus.GATEWAY_TIMEOUT, f"no answer within {TIMEOUT_SECONDS} seconds"
                )
                return
            except (OSError, http.client.HTTPException):
                self._unavailable()
                return
            found = {name: answer.headers[name] for name in RETURNED if name in answer.headers}
            self._send(answer.status, content, found)

    def _named_rightly(self) -> bool:
        """Whether the request names this machine as its host; if not, it is refused."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) == 1 and LOOPBACK.fullmatch(hosts[0]):
            return True
        self.close_connection = True
        self._fail(
            HTTPStatus.MISDIRECTED_REQUEST, f"expected {HOST} or localhost as host, got {hosts}"
        )
        return False

    def _from_page(self) -> bool:
        """Whether a request is from our page, or from no browser; another website's is refused."""
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site")
        if origin in (None, f"http://{self.headers['Host']}") and site in (
            *(None, "same-origin", "none"),
        ):
            return True
        self._fail(HTTPStatus.FORBIDDEN, "expected a request from this page, not from another one")
        return False

    def _drain(self, length: int) -> None:
        while length > 0 and (read := self.rfile.read(min(length, READ_SIZE))):
            length -= len(read)

    def _unavailable(self) -> None:
        self._fail(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the model server is not available",
            {"Retry-After": "1"},
        )

    def _fail(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer with an error in the handler's form."""
        body = {"success": False, "error": {"code": int(status), "message": message}}
        more = {"Content-Type": "application/json", **(headers or {})}
        self._send(status, json.dumps(body).encode(), more)

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        with contextlib.suppress(OSError):  # whoever asked has gone
            self.send_response(status)
            for name, value in {**self.server.files.headers, **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no HTTP, or another method."""
        self.close_connection = True
        self._fail(code, message or HTTPStatus(code).phrase)

    def version_string(self) -> str:
        return "falconet"

    def log_message(self, *_: object) -> None:
        """Nothing: the terminal is the command's."""
