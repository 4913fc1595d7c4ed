"""What clients and operators see when something fails, through the commands themselves.

Each test is a line of the runbook: what fails, what clients see meanwhile, and that all is well
again within the time that is stated.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from falconet.serving.ports import free_ports
from falconet.serving.processes import processes_of
from falconet.serving.record import FILE_NAME, Record
from falconet.serving.server import Server

pytestmark = [pytest.mark.server, pytest.mark.needs("nginx"), pytest.mark.long]

TIMEOUT = 60
KEY = {"X-Api-Key": "abc"}
ANY_PORTS = ("--port", "0", "--management-port", "0", "--metrics-port", "0")
# In many companies; nothing listens there.
PROXY = dict.fromkeys(("HTTP_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")


class Stack:
    """A server and a gateway before it, by their commands, and what clients are answered.

    Attributes:
        state: the folder of the server's state.
        answers: counted by version, or by status where there is none.
    """

    def __init__(self, archive: Path, folder: Path, picture: bytes) -> None:
        self.archive, self.state, self._picture = archive, folder / "state", picture
        (folder / "keys").write_text("abc me\n")
        (self.port,) = free_ports(1)
        self.answers: Counter[str] = Counter()
        self.environment = {**os.environ, **PROXY}
        self.serve()
        self.run(
            *("gateway", "--keys", folder / "keys", "--plain", "--port", self.port),
            *("--notice-seconds", "0.1", "--background"),
        )
        self.wait_ready()

    def command(self, *arguments: object) -> list[str]:
        return [
            sys.executable,
            "-m",
            "falconet.cli",
            *map(str, arguments),
            "--state",
            str(self.state),
        ]

    def run(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def begin(self, *arguments: object) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            # Under nohup it would be ignored.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )

    def serve(self) -> None:
        self.run("serve", self.archive, *ANY_PORTS, "--background")

    @property
    def server(self) -> Server:
        found = Server.find(self.state)
        assert found is not None
        return found

    def ask(self) -> str:
        """The version that answers, or the status where none does."""
        try:
            answer = requests.post(
                f"http://127.0.0.1:{self.port}/predict",
                data=self._picture,
                headers=KEY,
                timeout=TIMEOUT,
            )
        except requests.ConnectionError as error:
            return f"refused: {error}"
        if not answer.ok:
            return str(answer.status_code)
        return str(answer.json()["predictions"][0]["label"].split()[0])

    def ready(self) -> bool:
        return requests.get(f"http://127.0.0.1:{self.port}/ready", timeout=TIMEOUT).ok

    def wait_ready(self, seconds: float = TIMEOUT) -> None:
        deadline = time.monotonic() + seconds
        while not self.ready():
            assert time.monotonic() < deadline, (self.state / "gateway/output.log").read_text()
            time.sleep(0.1)

    @contextmanager
    def asked(self, threads: int = 4) -> Iterator[None]:
        """Clients ask all the time."""
        over = threading.Event()

        def again() -> None:
            while not over.wait(0.02):
                self.answers[self.ask()] += 1

        clients = [threading.Thread(target=again) for _ in range(threads)]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            over.set()
            for client in clients:
                client.join()

    def versions(self) -> list[str]:
        return [each["modelVersion"] for each in self.server.client.versions("pets")]

    def stop(self) -> None:
        self.run("gateway", "stop")
        self.run("stop")


@pytest.fixture
def stack(given: Path, picture: bytes, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(given, tmp_path, picture)
    try:
        yield made
    finally:
        made.stop()


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
    trial = ("canary", second, "--percent", "50", "--seconds", "3", "--requests", "1")
    with stack.asked():
        for moment in (0.3, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
            process = stack.begin(*trial, "--slower", "100")
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
    process = stack.begin("canary", make("2.0"), "--percent", "90", "--seconds", "60")
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
    keys = stack.state.parent / "keys"
    stack.run("gateway", "--keys", keys, "--plain", "--port", stack.port, "--background")
    stack.wait_ready()
    assert stack.ask() == "1.0"


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
    again = stack.command("gateway", "--keys", keys, "--plain", "--port", stack.port)
    done = subprocess.run(again, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == 1
    assert "a gateway already runs with" in done.stderr
    assert stack.ask() == "1.0"
