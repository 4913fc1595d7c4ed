"""nginx in front of the real server."""

import base64
import http.client
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from falconet.serving.certificate import Certificate
from falconet.serving.clients import read_clients
from falconet.serving.errors import ServerError
from falconet.serving.gateway import Gateway
from falconet.serving.limits import Limits
from falconet.serving.ports import free_ports
from falconet.serving.routes import Routes
from falconet.serving.server import Server
from falconet.serving.split import Split

TIMEOUT = 60
KEY = {"Authorization": "Bearer s3cret-of.alice="}

pytestmark = [pytest.mark.server, pytest.mark.needs("nginx")]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text("# who may ask\ns3cret-of.alice= alice\n\nbob+bob bob\n")
    return path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def make_certificate(folder: Path, key: Path | None = None) -> Certificate:
    """One of this machine; for another one's private key, or with a new one."""
    files = folder / "gateway.pem", key or folder / "gateway.key"
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", str(files[1]))
    subprocess.run(
        [
            *("openssl", "req", "-x509", *(("-key", str(key)) if key else new)),
            *("-nodes", "-days", "2", "-subj", f"/CN={folder.name}"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-out", str(files[0])),
        ],
        check=True,
        capture_output=True,
    )
    return Certificate(*files)


Start = Callable[..., Gateway]


@pytest.fixture
def start(server: Server, keys: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[Gateway] = []

    def start_one(**options: object) -> Gateway:
        folder = tmp_path / f"gateway{len(started)}"
        (port,) = free_ports(1)
        made = Gateway.start(
            folder,
            server.ports.inference,
            ["cifar10"],
            keys,
            port=port,
            **options,  # type: ignore[arg-type]
        )
        started.append(made)
        return made

    yield start_one
    for each in started:
        each.stop()
        with pytest.raises(ProcessLookupError):
            os.killpg(each.child.pid, 0)
        assert not each.runtime.exists()


def test_predictions_by_tls_and_key(
    start: Start, certificate: Certificate, samples: list[Path]
) -> None:
    gateway = start(certificate=certificate)
    url = f"https://127.0.0.1:{gateway.port}"
    frog = samples[4].read_bytes()
    ask = {"verify": str(certificate.chain), "timeout": TIMEOUT}
    paths = ("/predict", "/predictions/cifar10", "/predictions/cifar10/1.0")
    for path in paths:
        for headers in (KEY, {"X-Api-Key": "bob+bob"}):
            with samples[4].open("rb") as file:
                form = requests.post(url + path, files={"image": file}, headers=headers, **ask)
            assert form.status_code == 200, form.text
            assert form.json()["predictions"][0]["label"] == "frog"
            assert len(form.headers["X-Request-Id"]) == 32
    others = [{"X-Api-Key": key} for key in ("bob", "BOB+BOB", "bobb", "bob+bobx", "default", "~.")]
    for headers in ({}, {"Authorization": "Basic s3cret-of.alice="}, *others):
        refused = requests.post(f"{url}/predict", data=frog, headers=headers, **ask)
        assert refused.status_code == 401
        assert refused.json()["error"]["message"].startswith("expected a known API key")
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    content = base64.b64encode(frog).decode()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [content]}
    for path, body in (
        ("/predict", {"instances": [{"b64": content}]}),
        ("/v1/models/cifar10:predict", {"instances": [{"b64": content}]}),
        ("/v2/models/cifar10/infer", {"inputs": [tensor]}),
    ):
        answer = requests.post(url + path, json=body, headers=KEY, **ask)
        assert answer.status_code == 200, answer.text
        assert "frog" in answer.text
    # Errors of the handler come as they are.
    wrong = requests.post(f"{url}/predict", data=b"text", headers=KEY, **ask)
    assert wrong.status_code == 415, wrong.text
    assert wrong.json()["error"]["code"] == 415
    plainly = requests.post(f"http://127.0.0.1:{gateway.port}/predict", timeout=TIMEOUT)
    assert plainly.status_code == 400
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", gateway.port)) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)version|handshake|unsupported"),
    ):
        old.wrap_socket(plain)
    time.sleep(1.5)  # written once a second
    lines = (gateway.folder / "access.log").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert {entry["client"] for entry in entries} == {"alice", "bob", ""}
    assert "s3cret" not in "".join(lines)


@pytest.mark.parametrize(
    "target",
    [
        "/models", "/models/cifar10", "/workflows", "/metrics", "/ping", "/api-description",
        "/predictions", "/predictions/", "/predictions/../models", "/predictions/%2e%2e/models",
        "/predict/../models", "//models", "/predictions/cifar10/../../models",
        "/predictions/cifar10%2f..%2f..%2fmodels", "/predictions/cifar10/1.0/x", "/wfpredict/x",
        "/v1/models/cifar10", "/v2/models/cifar10", "/v2/repository/index", "/explanations",
        "/explanations/cifar10/1.0/x", "/explanations/../models", "/v1/models/cifar10:explain",
        "/predictions/cifar10;x=/models", "/PREDICT", "/predict%00", "/token?type=management",
    ],
)  # fmt: skip
def test_there_is_no_other_way_in(start: Start, target: str) -> None:
    gateway = start()
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"):
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: {KEY['Authorization']}\r\nContent-Length: 0\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", gateway.port), TIMEOUT) as connection:
            connection.sendall(head.encode())
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        status = int(answer.split(b" ", 2)[1])
        assert status in (400, 404, 405), (method, target, answer)
        # nginx's own answer, as TorchServe says 404 and 405 too.
        body = answer.partition(b"\r\n\r\n")[2]
        ours = (
            b"unknown path; use /predict",
            b"expected POST",
            b"expected GET",
            b"<center>nginx</center>",
        )
        assert method == "HEAD" or any(each in body for each in ours), (method, target, answer)


def test_limits_are_told_as_such(start: Start, samples: list[Path], server: Server) -> None:
    gateway = start(limits=Limits(max_body_size="64k", rate_limit=1, burst=3))
    url = f"http://127.0.0.1:{gateway.port}/predict"
    large = requests.post(url, data=b"x" * 100_000, headers=KEY, timeout=TIMEOUT)
    assert (large.status_code, large.json()["error"]["code"]) == (413, 413)
    frog = samples[4].read_bytes()
    answers = [requests.post(url, data=frog, headers=KEY, timeout=TIMEOUT) for _ in range(20)]
    statuses = Counter(each.status_code for each in answers)
    assert statuses.keys() == {200, 429}
    refused = next(each for each in answers if each.status_code == 429)
    assert refused.headers["Retry-After"] == "1"
    assert refused.json()["error"]["code"] == 429
    # Another's limit is its own.
    other = requests.post(url, data=frog, headers={"X-Api-Key": "bob+bob"}, timeout=TIMEOUT)
    assert other.status_code == 200
    wrong = requests.get(url, headers=KEY, timeout=TIMEOUT)
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "POST, PUT")


def test_explanations(start: Start, samples: list[Path], server: Server) -> None:
    url = f"http://127.0.0.1:{start().port}"
    frog = samples[4].read_bytes()
    named = {**KEY, "X-Explain-Class": "cat"}
    for path, headers, label in (
        ("/explanations/cifar10", KEY, "frog"),
        ("/explanations/cifar10/1.0", named, "cat"),
    ):
        for body in (frog, iter([frog])):
            found = requests.post(url + path, data=body, headers=headers, timeout=TIMEOUT)
            assert found.status_code == 200, found.text
            assert found.json()["label"] == label
            assert found.json()["attributions"]["shape"] == [32, 32]
            assert "explain;dur=" in found.headers["Server-Timing"]
            assert len(found.headers["X-Request-Id"]) == 32
    with samples[4].open("rb") as file:
        overlay = requests.post(
            f"{url}/explanations/cifar10",
            files={"image": file},
            headers={**KEY, "Accept": "image/png"},
            timeout=TIMEOUT,
        )
    assert overlay.headers["Content-Type"] == "image/png"
    assert overlay.content.startswith(b"\x89PNG")
    unknown = requests.post(f"{url}/explanations/cats", data=frog, headers=KEY, timeout=TIMEOUT)
    assert unknown.status_code == 404
    # Not by another path, where there is no limit.
    smuggled = requests.post(
        f"{url}/predict", data=frog, headers={**KEY, "explain": "True"}, timeout=TIMEOUT
    )
    assert smuggled.json()["predictions"][0]["label"] == "frog"


class Backend:
    """In place of TorchServe: takes its time for every answer, and counts those at a time."""

    def __init__(self, seconds: float) -> None:
        outer = self
        self.most = self.now = 0
        self.asked: Counter[str] = Counter()
        self._lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # headers and body in one packet, or Nagle waits for an acknowledgement

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                with outer._lock:
                    outer.asked[self.path] += 1
                    outer.now += 1
                    outer.most = max(outer.most, outer.now)
                time.sleep(seconds)
                with outer._lock:
                    outer.now -= 1
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> "Backend":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


def test_more_than_can_be_answered(keys: Path, tmp_path: Path) -> None:
    """429 for what is too much, at once; and no more at a time behind the gateway than said."""
    (port,) = free_ports(1)
    with Backend(1.0) as slow:
        gateway = Gateway.start(
            tmp_path, slow.port, ["cifar10"], keys, port=port, limits=Limits(max_concurrency=4)
        )
        try:
            url = f"http://127.0.0.1:{port}/predict"

            def ask(_: int) -> tuple[int, str | None, float]:
                began = time.monotonic()
                answer = requests.post(url, data=b"x" * 5000, headers=KEY, timeout=TIMEOUT)
                retry = answer.headers.get("Retry-After")
                return answer.status_code, retry, time.monotonic() - began

            with ThreadPoolExecutor(12) as pool:
                found = list(pool.map(ask, range(12)))
        finally:
            gateway.stop()
    assert sorted(status for status, _, _ in found) == [200] * 4 + [429] * 8
    assert slow.most == 4
    for status, retry, _ in found:
        assert retry == ("1" if status == 429 else None)


def test_of_explanations_there_are_two_at_a_time(keys: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Backend(1.0) as slow:
        gateway = Gateway.start(tmp_path, slow.port, ["cifar10"], keys, port=port)
        try:
            url = f"http://127.0.0.1:{port}"

            def ask(path: str) -> tuple[str, int, str | None]:
                answer = requests.post(url + path, data=b"x", headers=KEY, timeout=TIMEOUT)
                return path, answer.status_code, answer.headers.get("Retry-After")

            with ThreadPoolExecutor(12) as pool:
                found = Counter(pool.map(ask, ["/explanations/cifar10", "/predict"] * 6))
        finally:
            gateway.stop()
    assert found == {
        ("/explanations/cifar10", 200, None): 2,
        ("/explanations/cifar10", 429, "1"): 4,
        ("/predict", 200, None): 6,
    }
    assert slow.asked == {"/explanations/cifar10": 2, "/predictions/cifar10": 6}


def test_what_comes_in_pieces_counts_by_what_it_is(keys: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Backend(1.0) as slow:
        gateway = Gateway.start(tmp_path, slow.port, ["cifar10"], keys, port=port)
        few = gateway.limits.concurrency_limits["very_large"]

        def ask(size: int) -> tuple[int, str | None]:
            url = f"http://127.0.0.1:{port}/predict"
            pieces = iter([bytes(size)] * 2)
            answer = requests.post(url, data=pieces, headers=KEY, timeout=TIMEOUT)
            return answer.status_code, answer.headers.get("Retry-After")

        try:
            with ThreadPoolExecutor(12) as pool:
                assert list(pool.map(ask, [2500] * 12)) == [(200, None)] * 12
                large = Counter(pool.map(ask, [2_600_000] * (few + 4)))
        finally:
            gateway.stop()
    assert large.keys() == {(200, None), (429, "1")}
    assert large[200, None] >= few


def test_a_slow_model_gets_no_more_than_it_answers_in_time(keys: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    limits = Limits(max_concurrency=200, timeout=20)
    with Backend(0.5) as slow:
        gateway = Gateway.start(
            tmp_path, slow.port, ["cifar10", "pets"], keys, port=port, limits=limits
        )
        try:
            for requests_per_second in (None, 1.0, 100.0):
                gateway.limit_concurrency("cifar10", requests_per_second)
                slow.most = 0
                expected = limits.concurrency_limit(requests_per_second)

                def ask(path: str) -> int:
                    headers = {**KEY, "Connection": "close"}
                    return requests.post(
                        url + path, b"x", headers=headers, timeout=TIMEOUT
                    ).status_code

                with ThreadPoolExecutor(40) as pool:
                    statuses = Counter(pool.map(ask, 40 * ["/predict"]))
                if requests_per_second == 1.0:
                    assert slow.most == expected == 7
                    assert statuses.keys() == {200, 429}
                else:
                    assert statuses == {200: 40}
                with ThreadPoolExecutor(40) as pool:
                    assert set(pool.map(ask, 40 * ["/predict/pets"])) == {200}, "its own limit"
        finally:
            gateway.stop()


def test_requests_are_shared_out_on_the_connections_there_are(keys: Path, tmp_path: Path) -> None:
    """To read its configuration anew nginx would close them, also while something is sent."""
    (port,) = free_ports(1)
    with Backend(0.0) as backend:
        limits = Limits(rate_limit=100_000, burst=100_000)
        gateway = Gateway.start(tmp_path, backend.port, ["cifar10"], keys, port=port, limits=limits)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        try:
            connection.connect()
            held = connection.sock
            for split, low, high in (
                (Split(), 0, 0),
                (Split("2.0", 30), 40, 140),
                (Split("2.0", 100), 300, 300),
                (Split("3.0", 100), 300, 300),
                (Split("3.0", 1), 0, 20),
                (Split(), 0, 0),
            ):
                # Another model's are left alone.
                splits = {"cifar10": split, "pets": Split("7.0", 100)}
                gateway.set_routes(splits)
                assert Routes.load(gateway.folder) == Routes("cifar10", splits)
                backend.asked.clear()
                for path in 100 * ("/predict", "/predict/cifar10", "/predictions/cifar10"):
                    connection.request("POST", path, b"x", KEY)
                    answer = connection.getresponse()
                    assert (answer.status, answer.read()) == (200, b"{}")
                tried = backend.asked.pop(f"/predictions/cifar10/{split.version}", 0)
                assert low <= tried <= high
                assert backend.asked.get("/predictions/cifar10", 0) == 300 - tried
                backend.asked.clear()
                connection.request("POST", "/predictions/cifar10/1.0", b"x", KEY)
                connection.getresponse().read()
                connection.request("POST", "/predict/pets", b"x", KEY)
                connection.getresponse().read()
                assert backend.asked == {"/predictions/cifar10/1.0": 1, "/predictions/pets/7.0": 1}
            assert connection.sock is held
        finally:
            connection.close()
            gateway.stop()


def test_models_come_and_go_on_the_connections_there_are(keys: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Backend(0.0) as backend:
        gateway = Gateway.start(tmp_path, backend.port, ["cifar10", "pets-2.b"], keys, port=port)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)

        def ask(path: str, key: dict[str, str] = KEY) -> int:
            connection.request("POST", path, b"x", key)
            answer = connection.getresponse()
            body = json.loads(answer.read())
            if answer.status != 200:
                # The Open Inference Protocol has its own form.
                message = body["error"]
                if not path.startswith("/v2/"):
                    assert message["code"] == answer.status
                    message = message["message"]
                told = {401: "expected a known API key", 404: "no model of this name is served"}
                assert message.startswith(told[answer.status])
            return answer.status

        try:
            connection.connect()
            held = connection.sock
            for models in (["cifar10", "pets-2.b"], ["cifar10"], ["cifar10", "a", "pets-2.b"]):
                gateway.set_routes({model: Split() for model in models})
                for model in ("cifar10", "pets-2.b", "a", "b", "cifar", "CIFAR10", "pets-2xb"):
                    paths = {
                        f"/predict/{model}": f"/predictions/{model}",
                        f"/predictions/{model}": f"/predictions/{model}",
                        f"/predictions/{model}/1.0": f"/predictions/{model}/1.0",
                        f"/v1/models/{model}:predict": f"/v1/models/{model}:predict",
                        f"/v2/models/{model}/infer": f"/v2/models/{model}/infer",
                    }
                    for path, passed in paths.items():
                        backend.asked.clear()
                        if model == "a":  # of which there are only so many in a second
                            assert ask(path, {}) == 401
                        assert ask(path) == (200 if model in models else 404)
                        assert backend.asked == ({passed: 1} if model in models else {})
                backend.asked.clear()
                assert ask("/predict") == 200
                assert backend.asked == {"/predictions/cifar10": 1}
            assert connection.sock is held
        finally:
            connection.close()
            gateway.stop()
    assert "crit" not in (tmp_path / "error.log").read_text()


def test_who_sends_slowly_holds_up_nobody(start: Start, samples: list[Path]) -> None:
    """More of them than requests are let in at a time."""
    gateway = start(limits=Limits(max_concurrency=4))
    frog = samples[4].read_bytes()
    head = (
        f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(frog)}\r\n"
        f"Authorization: {KEY['Authorization']}\r\n\r\n"
    )
    slow = [socket.create_connection(("127.0.0.1", gateway.port), TIMEOUT) for _ in range(50)]
    try:
        for each in slow:
            each.sendall(head.encode() + frog[:100])
        url = f"http://127.0.0.1:{gateway.port}/predict"
        for _ in range(20):
            assert requests.post(url, data=frog, headers=KEY, timeout=TIMEOUT).ok
        slow[0].sendall(frog[100:])
        assert slow[0].recv(1 << 16).startswith(b"HTTP/1.1 200")
    finally:
        for each in slow:
            each.close()


def test_every_error_of_the_handler_arrives(start: Start) -> None:
    """TorchServe resets connections after an error; its answer is not lost to that."""
    gateway = start()
    url = f"http://127.0.0.1:{gateway.port}/predict"
    with requests.Session() as session:
        for _ in range(200):
            assert session.post(url, data=b"text", headers=KEY, timeout=TIMEOUT).status_code == 415


def test_readiness_is_as_said(start: Start) -> None:
    gateway = start()
    url = f"http://127.0.0.1:{gateway.port}"
    assert requests.get(f"{url}/live", timeout=TIMEOUT).json() == {"live": True}
    for more in (None, True, False):  # at first nobody has looked at the server
        if more is not None:
            gateway.set_ready(more)
        answer = requests.get(f"{url}/ready", timeout=TIMEOUT)
        assert (answer.status_code, answer.json()) == (200 if more else 503, {"ready": bool(more)})
    assert requests.get(f"{url}/live", timeout=TIMEOUT).ok


def test_logs_do_not_grow_for_ever(start: Start) -> None:
    gateway = start()
    log, old = (gateway.folder / name for name in ("access.log", "access.log.1"))

    def ask(path: str) -> None:
        requests.post(f"http://127.0.0.1:{gateway.port}/{path}", timeout=TIMEOUT)

    def wait_for(path: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while f'"/{path}"' not in log.read_text():
            assert time.monotonic() < deadline, path
            time.sleep(0.1)

    ask("first")
    wait_for("first")
    gateway.rotate()
    assert not old.exists(), "it is not that large"
    for path, before in (("second", "first"), ("third", "second")):
        gateway.rotate(size=1)
        ask(path)
        wait_for(path)
        assert "first" not in log.read_text()
        assert f'"/{before}"' in old.read_text()
    assert {each.name for each in gateway.folder.glob("access*")} == {log.name, old.name}


def test_a_server_that_is_gone(keys: Path, tmp_path: Path) -> None:
    port, nobody = free_ports(2)
    gateway = Gateway.start(tmp_path / "gateway", nobody, ["cifar10"], keys, port=port)
    try:
        url = f"http://127.0.0.1:{port}/predict"
        answer = requests.post(url, data=b"x", headers=KEY, timeout=TIMEOUT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, 503)
    finally:
        gateway.stop()


def test_what_does_not_start_is_said(keys: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(ServerError, match=r"(?s)nginx did not start:.*Address already in use"):
            Gateway.start(tmp_path / "gateway", 1, ["cifar10"], keys, port=port)
    bad = tmp_path / "bad"
    for text, message in (
        ("", "expected a line KEY NAME for each client; there is none"),
        ("a b c\n", r"bad:1: expected a key and a name"),
        ('x";} y\n', r"bad:1: expected a key and a name"),
        ("é é\n", r"bad:1: expected a key and a name"),
    ):
        bad.write_text(text)
        with pytest.raises(ServerError, match=message):
            Gateway.start(tmp_path / "gateway", 1, ["cifar10"], bad, port=port)


def test_keys_and_certificate_are_read_anew_and_no_request_is_lost(
    start: Start, samples: list[Path], tmp_path: Path
) -> None:
    """Neither on connections that stay open nor on new ones."""
    folders = [tmp_path / name for name in ("first", "second", "third")]
    for folder in folders:
        folder.mkdir()
    first = make_certificate(folders[0])
    second = make_certificate(folders[1], first.key)
    third = make_certificate(folders[2])
    trusted, keys = tmp_path / "trusted.pem", tmp_path / "keys"
    trusted.write_text("".join(each.chain.read_text() for each in (first, second, third)))
    gateway = start(certificate=first)
    url = f"https://127.0.0.1:{gateway.port}/predict"
    frog = samples[4].read_bytes()
    statuses: Counter[object] = Counter()
    over = threading.Event()

    def ask(*, close: bool) -> None:
        with requests.Session() as session:
            session.headers.update(KEY)
            while not over.is_set():
                try:
                    headers = {"Connection": "close"} if close else {}
                    answer = session.post(
                        url, data=frog, headers=headers, verify=str(trusted), timeout=TIMEOUT
                    )
                    statuses[answer.status_code] += 1
                except requests.RequestException as error:
                    statuses[str(error)] += 1

    def status(key: str) -> int:
        headers = {"X-Api-Key": key}
        return requests.post(
            url, data=frog, headers=headers, verify=str(trusted), timeout=TIMEOUT
        ).status_code

    def shown() -> str:
        return ssl.get_server_certificate(("127.0.0.1", gateway.port))

    threads = [threading.Thread(target=ask, kwargs={"close": each}) for each in (True, False)]
    for thread in threads:
        thread.start()
    try:
        keys.write_text("s3cret-of.alice= alice\na/slash//and+more= team/carol\n")
        assert (status("bob+bob"), status("a/slash//and+more=")) == (200, 401)
        assert shown() == first.chain.read_text()
        gateway.reload(keys, second)
        assert (status("bob+bob"), status("a/slash//and+more=")) == (401, 200)
        assert [status(each) for each in ("a", "a/slash", "a,slash,,and+more=")] == [401] * 3
        assert shown() == second.chain.read_text()
        # What is not as it should be changes nothing.
        broken = Certificate(first.chain, third.key)
        with pytest.raises(ServerError, match="expected a certificate and its private key"):
            gateway.reload(keys, broken)
        keys.write_text("a\n")
        with pytest.raises(ServerError, match="keys:1: expected a key and a name"):
            gateway.reload(keys, first)
        assert (status("a/slash//and+more="), shown()) == (200, second.chain.read_text())
        for i in range(20):
            keys.write_text("s3cret-of.alice= alice\n")
            gateway.reload(keys, (first, second)[i % 2])
            time.sleep(0.05)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert statuses.keys() == {200}, statuses
    assert statuses[200] > 50
    gateway.reload(keys, third)
    assert (shown(), status("s3cret-of.alice=")) == (third.chain.read_text(), 200)
    time.sleep(1.5)  # the log is written once a second
    lines = (gateway.folder / "access.log").read_text().splitlines()
    assert "team/carol" in {json.loads(line)["client"] for line in lines}


def test_keys_that_would_not_be_found_are_refused(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    for text, message in (
        ("k" * 201 + " a\n", "at most 200 characters"),
        ("/" * 9 + " a\n", "8 slashes"),
        ("k a/../b\n", "a name like alice or team/alice"),
        ("k .\n", "a name like"),
    ):
        keys.write_text(f"# first\n{text}")
        with pytest.raises(ServerError, match=rf"keys:2: .*{message}"):
            read_clients(keys)


def test_addresses_of_clients_and_who_guesses_keys(start: Start) -> None:
    gateway = start(trusted=["127.0.0.0/8"], limits=Limits(max_concurrency_per_address=7))
    url = f"http://127.0.0.1:{gateway.port}/predict"

    def guess(address: str) -> requests.Response:
        headers = {"X-Api-Key": "guess", "X-Forwarded-For": address}
        return requests.post(url, headers=headers, timeout=TIMEOUT)

    with ThreadPoolExecutor(32) as pool:
        statuses = Counter(each.status_code for each in pool.map(guess, 32 * ["10.1.2.3"]))
    # So many at once have to wait, and others are refused.
    assert statuses.keys() == {401, 429}
    assert statuses[401] <= 14
    assert guess("10.9.9.9").status_code == 401, "another address does not wait"
    time.sleep(1.5)
    lines = (gateway.folder / "access.log").read_text().splitlines()
    assert {json.loads(line)["address"] for line in lines} == {"10.1.2.3", "10.9.9.9"}
    with pytest.raises(ServerError, match=r"expected an address or a network like 10\.0\.0\.0/8"):
        start(trusted=["everybody"])


def test_an_address_of_ipv6(start: Start, samples: list[Path]) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    gateway = start(host="::1")
    frog = samples[4].read_bytes()
    url = f"http://[::1]:{gateway.port}/predict"
    assert requests.post(url, data=frog, headers=KEY, timeout=TIMEOUT).ok
