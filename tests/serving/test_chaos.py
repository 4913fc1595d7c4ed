"""What clients and operators see when something fails, through the commands themselves.

Each test is a line of the runbook: what fails, what clients see meanwhile, and that all is well
again within the time that is stated.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from falconet.serving.processes import processes_of
from falconet.serving.record import FILE_NAME, Record
from tests.serving.chaos import TIMEOUT, Stack, started

pytestmark = [pytest.mark.server, pytest.mark.needs("nginx"), pytest.mark.long]


@pytest.fixture
def stack(given: Path, image: bytes, tmp_path: Path) -> Iterator[Stack]:
    with started(Stack(given, tmp_path, image)) as running:
        yield running


def test_java_is_killed(stack: Stack) -> None:
    """Clients get status 503 until the server is started again; nobody is refused."""
    with stack.asked():
        time.sleep(1)
        killed = stack.server
        for each in processes_of(killed.temporary):
            if "java" in each.name():
                each.kill()
        deadline = time.monotonic() + TIMEOUT
        while stack.ready():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1)
        stack.serve()
        assert stack.server.ports != killed.ports
        stack.wait_ready(10)
        before = stack.answers["1.0"]
        time.sleep(1)
    assert stack.answers["1.0"] > before
    assert stack.answers.keys() <= {"1.0", "429", "500", "503"}, stack.answers
    said = (stack.state / "gateway/output.log").read_text()
    assert "no server runs; requests get status 503 until one does" in said


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_trial_is_killed_at_any_moment(
    stack: Stack, make: Callable[..., Path], number: signal.Signals
) -> None:
    """Clients are answered by one version or the other; a repeat leaves nothing half done."""
    second = make("2.0")
    trial = ("canary", second, "--percent", "50", "--duration", "3", "--min-requests", "1")
    with stack.asked():
        for moment in (0.3, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
            process = stack.begin(*trial, "--max-latency-ratio", "100")
            time.sleep(moment)
            os.killpg(process.pid, number)
            process.wait(TIMEOUT)
            record = Record.load(stack.state)["pets"]
            if number != signal.SIGKILL:
                assert record.coming is None, "the command itself undoes it, until the switch"
            if record.serving.version == "2.0":
                stack.run("rollback")
        stack.run("deploy", second)
        assert stack.versions() == ["2.0"]
        record = Record.load(stack.state)["pets"]
        assert (record.coming, record.leaving, record.percent) == (None, None, 0)
    assert stack.answers.keys() <= {"1.0", "2.0"}, stack.answers


def test_all_is_killed_during_a_trial(stack: Stack, make: Callable[..., Path]) -> None:
    """As by a reboot: what is started again serves what served, and nothing of the trial."""
    process = stack.begin("canary", make("2.0"), "--percent", "90", "--duration", "60")
    deadline = time.monotonic() + TIMEOUT
    while stack.ask() != "2.0":
        assert time.monotonic() < deadline
    os.killpg(process.pid, signal.SIGKILL)
    for each in processes_of(stack.server.temporary):
        each.kill()
    process.wait(TIMEOUT)
    stack.serve()
    stack.wait_ready()
    with stack.asked():
        time.sleep(2)
    assert stack.answers.keys() == {"1.0"}
    assert stack.versions() == ["1.0"]


def test_nginx_is_killed(stack: Stack) -> None:
    """The command ends with an error, for a supervisor to start it again; nothing hinders that."""
    gateway = psutil.Process(int((stack.state / "gateway/gateway.pid").read_text().split()[0]))
    (nginx,) = (each for each in gateway.children() if "nginx" in each.name())
    nginx.kill()
    gateway.wait(TIMEOUT)
    assert "nginx has ended; see" in (stack.state / "gateway/output.log").read_text()
    stack.run(*stack.gateway(stack.port))
    stack.wait_ready()
    assert stack.ask() == "1.0"


def test_the_gateways_command_is_killed(stack: Stack, make: Callable[..., Path]) -> None:
    """Its nginx ends too; a deploy waits for no gateway, and the next one starts at once."""
    gateway = psutil.Process(int((stack.state / "gateway/gateway.pid").read_text().split()[0]))
    (nginx,) = (each for each in gateway.children() if "nginx" in each.name())
    gateway.kill()
    nginx.wait(TIMEOUT)
    stack.run("deploy", make("2.0"))
    stack.run(*stack.gateway(stack.port))
    stack.wait_ready()
    assert stack.ask() == "2.0"


def test_the_record_is_damaged(stack: Stack) -> None:
    """Clients notice nothing; commands say what to do."""
    record = stack.state / FILE_NAME
    whole = record.read_text()
    with stack.asked():
        record.write_text(whole[: len(whole) // 2])
        time.sleep(5)
        assert stack.ready()
        said = (stack.state / "gateway/output.log").read_text()
        record.write_text(whole)
        time.sleep(2)
    assert "models.json: damaged" in said
    assert stack.answers.keys() == {"1.0"}


def test_a_second_gateway_is_refused(stack: Stack) -> None:
    keys = stack.state.parent / "keys"
    again = stack.command("gateway", "--api-keys", keys, "--no-tls", "--port", stack.port)
    done = subprocess.run(again, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == 1
    assert "a gateway already runs with" in done.stderr
    assert stack.ask() == "1.0"
