"""falconet deploy, rollback, models, scale and gateway, with a real server."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from falconet.handler import ENTRY
from falconet.model.archive import Serving, archive
from falconet.serving.configuration import Configuration
from falconet.serving.ports import free_ports
from falconet.serving.server import Server

pytestmark = pytest.mark.server

Run = Callable[..., subprocess.CompletedProcess[str]]
Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def state(
    exported: Path, samples: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Of a server with version 1.0."""
    folder = tmp_path_factory.mktemp("deploy")
    first = folder / "store" / "cifar10.mar"
    archive(exported, first, handler=ENTRY, serving=Serving(workers=1))
    configuration = Configuration.load(inference=0, management=0, metrics=0)
    server = Server.start(first, folder / "state", configuration)
    try:
        server.wait_ready(samples[0].read_bytes())
        yield folder / "state"
    finally:
        server.stop()


def test_models_are_deployed_listed_scaled_and_rolled_back(
    state: Path, exported: Path, tmp_path: Path, run: Run
) -> None:
    second = tmp_path / "cifar10.mar"
    archive(exported, second, handler=ENTRY, version="2.0", serving=Serving(workers=1))
    deployed = run("deploy", second, "--state", state)
    assert deployed.returncode == 0, deployed.stderr
    assert deployed.stdout.splitlines()[-1].startswith("deployed 2.0 (cifar10-2.0-")
    scaled = run("scale", "2", "--state", state)
    assert scaled.stdout == "cifar10: 2 workers\n", scaled.stderr
    (listed,) = json.loads(run("models", "--state", state, "--json").stdout)
    assert (listed["model"], listed["version"], listed["default"]) == ("cifar10", "2.0", True)
    assert (listed["workers"], listed["ready"], listed["waiting"]) == (2, 2, 0)
    assert listed["memory"] > 1e7
    text = run("models", "--state", state).stdout
    assert "2.0*" in text
    assert "2/2" in text
    assert run("scale", "1", "--state", state).stdout == "cifar10: 1 workers\n"
    back = run("rollback", "--state", state)
    assert back.stdout.splitlines()[-1].startswith("deployed 1.0 (cifar10-1.0-")
    failed = run("deploy", tmp_path / "no.mar", "--state", state)
    assert failed.returncode == 1
    assert "no archive at" in failed.stderr


@pytest.mark.needs("nginx")
def test_a_gateway_until_it_is_ended(
    state: Path, samples: list[Path], tmp_path: Path, begin: Begin, run: Run
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("abc me\n")
    (port,) = free_ports(1)
    common = ["--keys", keys, "--port", str(port), "--state", state, "--notice-seconds", "0.1"]
    undecided = run("gateway", *common)
    assert "expected --certificate and --certificate-key, or --plain" in undecided.stderr
    with begin("gateway", "--plain", *common) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"ready: http://127.0.0.1:{port}/predict. Try:\n"
            answer = requests.post(
                f"http://127.0.0.1:{port}/predict",
                data=samples[4].read_bytes(),
                headers={"X-Api-Key": "abc"},
                timeout=60,
            )
            assert answer.json()["predictions"][0]["label"] == "frog"
            deadline = time.monotonic() + 60
            while not requests.get(f"http://127.0.0.1:{port}/ready", timeout=60).ok:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert process.stdout.read().endswith("stopped\n")
        finally:
            process.kill()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/live", timeout=5)


@pytest.mark.needs("nginx")
def test_nginx_ends_with_a_gateway_that_is_killed(
    state: Path, tmp_path: Path, begin: Begin
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("abc me\n")
    (port,) = free_ports(1)
    command = ["gateway", "--plain", "--keys", keys, "--port", port, "--state", state]
    with begin(*command) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            requests.get(f"http://127.0.0.1:{port}/live", timeout=5)
        except requests.ConnectionError:
            return
        time.sleep(0.1)
    pytest.fail("nginx lives on")
