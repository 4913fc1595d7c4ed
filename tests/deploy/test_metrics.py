"""What Prometheus reaches of a pod, in a network like the pod's."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from falconet.cli.main import main
from falconet.serving.configuration import Configuration

TIMEOUT = 60
# In place of TorchServe: says what it was asked.
SERVER = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps([self.path, sorted(self.headers)]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
ASK = """
import http.client, json, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
try:
    connection.request(sys.argv[2], sys.argv[3], headers={"X-Secret": "s3cret"})
    answer = connection.getresponse()
    print(json.dumps([answer.status, answer.read().decode()]))
except ConnectionRefusedError:
    print(json.dumps([0, "refused"]))
"""


def test_metrics_are_where_torchserve_has_them(kubernetes: Path) -> None:
    text = (kubernetes / "metrics" / "nginx.conf").read_text()
    assert f"proxy_pass http://127.0.0.1:{Configuration.load().ports.metrics};" in text
    command = main.get_command(None, "gateway")  # type: ignore[arg-type]
    assert command is not None
    (port,) = (each for each in command.params if each.name == "gateway_metrics_port")
    assert f"proxy_pass http://127.0.0.1:{port.default}/metrics;" in text


@pytest.mark.server
def test_metrics_and_nothing_else(
    image: Any, run: Any, kubernetes: Path, resources: dict[str, dict[str, Any]]
) -> None:
    (sidecar,) = resources["metrics/sidecar.yaml"]["spec"]["template"]["spec"]["initContainers"]
    config, folder = (each["mountPath"] for each in sidecar["volumeMounts"])
    (port,) = (each["containerPort"] for each in sidecar["ports"])
    begin = f'mkdir {folder} && exec "$@"'
    mounts = {config: kubernetes / "metrics"}
    container = run(image, mounts, ["sh", "-c", begin, "sh", *sidecar["command"]])

    def ask(method: str, path: str, port: int = port) -> Iterator[Any]:
        done = container.inside(ASK, str(port), method, path)
        assert done.returncode == 0, done.stderr
        yield from json.loads(done.stdout)

    metrics = Configuration.load().ports.metrics
    enter = ["nsenter", "--target", str(container.unshare.pid), "--net", sys.executable, "-c"]
    with subprocess.Popen([*enter, SERVER, str(metrics)], stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + TIMEOUT
            while 0 in (next(ask("GET", "/", each)) for each in (port, metrics)):
                assert time.monotonic() < deadline, container.output.read_text()
                time.sleep(0.2)
            status, body = ask("GET", "/metrics?name[]=x")
            assert status == 200
            path, headers = json.loads(body)
            assert path == "/metrics"
            assert set(headers) <= {"Host", "Connection"}
            for path in ("/", "/models", "/metrics/", "/metrics/../models", "/ping", "/METRICS"):
                assert next(ask("GET", path)) == 404, path
            for method in ("POST", "PUT", "DELETE", "OPTIONS"):
                assert next(ask(method, "/metrics")) == 403, method
        finally:
            server.terminate()
    container.first.send_signal(signal.Signals[image.one("STOPSIGNAL")])
    assert container.unshare.wait(timeout=TIMEOUT) == 0, container.output.read_text()
