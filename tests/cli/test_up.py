"""falconet up: what the tests of the container and the unit leave open."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from falconet.handler import ENTRY
from falconet.model.archive import Serving, archive
from falconet.model.samples import Sample
from falconet.serving.ports import free_ports
from falconet.serving.processes import processes_of
from falconet.serving.server import Server

pytestmark = [pytest.mark.server, pytest.mark.needs("nginx")]

ANY_PORTS = ["--inference-port", "0", "--management-port", "0", "--metrics-port", "0"]


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Of the command, but for the archive."""
    (tmp_path / "keys").write_text("abc me\n")
    (port,) = free_ports(1)
    return [
        *("--no-tls", "--api-keys", str(tmp_path / "keys"), "--port", str(port), *ANY_PORTS),
        *("--state", str(tmp_path / "state"), "--gateway-metrics-port", "0"),
    ]


def test_nobody_is_let_in_to_a_model_that_answers_otherwise_than_recorded(
    pets: Any,
    tmp_path: Path,
    arguments: list[str],
    run: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    mar = tmp_path / "pets.mar"
    known = [Sample(pets.image, "1.0 dog", 0.123)]
    archive(pets.exported("1.0"), mar, handler=ENTRY, serving=Serving(workers=1), known=known)
    done = run("up", mar, *arguments)
    assert done.returncode == 1
    assert "expected 1.0 dog with probability 0.123 for sample 0" in done.stderr
    assert "ready:" not in done.stdout
    assert Server.find(tmp_path / "state") is None


def test_it_ends_with_an_error_when_torchserve_does(
    make: Callable[..., Path],
    image: bytes,
    tmp_path: Path,
    arguments: list[str],
    begin: Callable[..., "subprocess.Popen[str]"],
) -> None:
    """So that whoever supervises it starts it again."""
    with begin("up", make("1.0"), *arguments) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("pets 1.0, workers: 1: ready after")
            url = process.stdout.readline().split()[1].rstrip(".")
            answer = requests.post(url, data=image, headers={"X-Api-Key": "abc"}, timeout=60)
            assert answer.json()["predictions"][0]["label"].startswith("1.0 ")
            server = Server.find(tmp_path / "state")
            assert server is not None
            (java,) = (each for each in processes_of(server.temporary) if "java" in each.name())
            java.send_signal(signal.SIGKILL)
            assert process.wait(60) == 1
            assert "TorchServe has ended; see" in process.stdout.read()
            assert not processes_of(server.temporary)
        finally:
            if process.poll() is None:
                psutil.Process(process.pid).terminate()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)
