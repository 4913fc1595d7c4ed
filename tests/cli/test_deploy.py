"""falconet deploy, rollback, models and scale, on a stand-in; falconet gateway, with a real server.

That the first ones work with a real server too, tests/repo/test_runbook.py shows.
"""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from falconet.cli.main import main
from falconet.serving.ports import free_ports
from falconet.serving.server import Server

Run = Callable[..., subprocess.CompletedProcess[str]]
Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def state(server: Server) -> Path:
    """Of a real server, which is not changed."""
    return server.folder


def test_help_promises_all_or_none_only_where_it_holds() -> None:
    """A model that cannot be removed from one server is not added again to the others."""
    for name in ("deploy", "undeploy", "rollback"):
        said = " ".join(CliRunner().invoke(main, [name, "--help"]).output.split())
        assert "Repeat for several servers" in said
        assert ("all of them change or none" in said) == (name != "undeploy")


def test_models_are_deployed_listed_scaled_and_rolled_back(
    stand_in: Callable[..., Any],
    make: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pets = stand_in()
    monkeypatch.setattr(Server, "find", lambda folder: pets if folder == pets.folder else None)

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(main, [*map(str, arguments), "--state", str(pets.folder)])

    deployed = run("deploy", make("2.0"))
    assert deployed.exit_code == 0, deployed.output
    assert deployed.stdout.splitlines()[1:-1] == [
        "starting version 2.0 (workers: 1)",
        "version 2.0 gives the expected predictions for 4 samples",
        "version 2.0 is now the current version",
        "previous version 1.0 finished its requests and was stopped",
    ]
    assert deployed.stdout.splitlines()[-1].startswith("deployed 2.0 (pets-2.0-")
    scaled = run("scale", "2")
    assert scaled.stdout == "pets: 2 workers\n", scaled.output
    (listed,) = json.loads(run("models", "--json").stdout)
    assert (listed["model"], listed["version"], listed["default"]) == ("pets", "2.0", True)
    assert (listed["workers"], listed["ready"], listed["waiting"]) == (2, 2, 0)
    assert listed["answered"] == 4, "the samples"
    text = run("models").stdout
    assert "2.0*" in text
    assert "2/2" in text
    assert run("scale", "1").stdout == "pets: 1 workers\n"
    back = run("rollback")
    assert back.stdout.splitlines()[-1].startswith("deployed 1.0 (pets-1.0-")
    failed = run("deploy", tmp_path / "no.mar")
    assert failed.exit_code == 1
    assert "no archive at" in failed.output
    nobody = CliRunner().invoke(main, ["models", "--state", str(tmp_path)])
    assert f"no server runs with {tmp_path}; start one with: falconet serve" in nobody.output


REQUESTS = "falconet_gateway_request_duration_seconds_count"


def metrics(port: int) -> str:
    """Of a gateway."""
    return requests.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text


@pytest.mark.server
@pytest.mark.needs("nginx")
def test_a_gateway_until_it_is_ended(
    state: Path, samples: list[Path], tmp_path: Path, begin: Begin, run: Run
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("abc me\n")
    port, metrics_port = free_ports(2)
    common = [
        *("--api-keys", keys, "--port", str(port), "--state", state, "--notice-seconds", "0.1"),
        *("--gateway-metrics-port", str(metrics_port)),
    ]
    listed = json.loads(run("models", "--state", state, "--json").stdout)
    assert all(each["memory"] > 1e7 for each in listed if each["model"] == "cifar10")
    assert listed
    undecided = run("gateway", *common)
    assert "expected --tls-cert and --tls-key, or --no-tls" in undecided.stderr
    with begin("gateway", "--no-tls", *common) as process:
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
            counted = f'{REQUESTS}{{model_name="cifar10",status="200"}} 1.0'
            while counted not in (found := metrics(metrics_port)):
                assert time.monotonic() < deadline, found
                time.sleep(0.2)
            assert "falconet_gateway_ready 1.0" in found
            assert 'falconet_gateway_concurrent_requests_limit{model_name="cifar10"} 200.0' in found
            assert 'falconet_gateway_connections{state="writing"}' in found
            keys.write_text("xyz me\n")
            reloaded = run("gateway", "reload", "--state", state)
            assert reloaded.stdout == f"reloaded keys and certificate (process {process.pid})\n"
            for key, expected in (("abc", 401), ("xyz", 200)):
                answer = requests.post(
                    f"http://127.0.0.1:{port}/predict",
                    data=samples[4].read_bytes(),
                    headers={"X-Api-Key": key},
                    timeout=60,
                )
                assert answer.status_code == expected
            keys.write_text("xyz\n")
            refused = run("gateway", "reload", "--state", state)
            assert refused.returncode == 1
            assert "still uses the previous keys and certificate" in refused.stderr
            again = run("gateway", "--no-tls", *common)
            assert "a gateway already runs with" in again.stderr
            stopped = run("gateway", "stop", "--state", state)
            assert stopped.stdout == f"stopped the gateway (process {process.pid})\n"
            assert process.wait(60) == 0
            assert process.stdout.read().endswith("stopped\n")
        finally:
            process.kill()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/live", timeout=5)


@pytest.mark.server
@pytest.mark.needs("nginx")
def test_nginx_ends_with_a_gateway_that_is_killed(
    state: Path, tmp_path: Path, begin: Begin
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("abc me\n")
    (port,) = free_ports(1)
    command = [
        *("gateway", "--no-tls", "--api-keys", keys, "--port", port, "--state", state),
        *("--gateway-metrics-port", "0"),
    ]
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
