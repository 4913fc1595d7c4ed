"""What clients and operators see when the machine fails, or is not set up as it should be.

Each test is a line of the runbook, as in ``test_chaos.py``.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest
import torch

from falconet.model.network import ConvNet
from falconet.model.weights import Weights
from falconet.serving.errors import ServerError
from falconet.serving.lease import SECONDS as LEASE_SECONDS
from falconet.serving.record import Record
from falconet.serving.rollout import deploy
from falconet.serving.server import Server
from tests.pets import Pets
from tests.serving.chaos import ANY_PORTS, COMMAND_SECONDS, KEY, TIMEOUT, Stack, started
from tests.stand_in import StandIn

pytestmark = [
    pytest.mark.server,
    pytest.mark.needs("nginx"),
    pytest.mark.long,
    pytest.mark.timeout(900),
]

Make = Callable[..., Path]
# Options of mount.
DISK = ("-t", "tmpfs", "-o", "size=64m", "none")
# Of a model whose archive takes more space than logs do meanwhile.
WIDTHS = (64, 256, 256)
DAY = 24 * 3600
# Clients that ask this long at least ask while the gateway looks at its server.
SECONDS = 3.0
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
# Adds the number of seconds in a file to the date that the processes of a stack read.
CLOCK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long *jump;

__attribute__((constructor)) static void open_jump(void) {
  void *file = mmap(0, 8, PROT_READ, MAP_SHARED, open(getenv("CLOCK_JUMP"), O_RDONLY), 0);
  if (file == MAP_FAILED) abort();
  jump = file;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = syscall(SYS_clock_gettime, clock, now);
  if (jump && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *jump;
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec found;
  clock_gettime(CLOCK_REALTIME, &found);
  now->tv_sec = found.tv_sec;
  now->tv_usec = found.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *now) {
  struct timespec found;
  clock_gettime(CLOCK_REALTIME, &found);
  if (now) *now = found.tv_sec;
  return found.tv_sec;
}
"""


@pytest.fixture
def stack(given: Path, image: bytes, tmp_path: Path) -> Iterator[Stack]:
    with started(Stack(given, tmp_path, image)) as running:
        yield running


@contextmanager
def mounted(at: Path, *options: str) -> Iterator[None]:
    """Something is mounted there; where this is not permitted, the test is skipped."""
    done = subprocess.run(["mount", *options, str(at)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mount is not permitted: {done.stderr.strip()}")
    try:
        yield
    finally:
        # Lazily: what has failed may still have a file open.
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@contextmanager
def listening() -> Iterator[int]:
    """The port of another program."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield int(taken.getsockname()[1])


def left_of(stack: Stack) -> list[list[str]]:
    """The commands of the processes whose command, folder or environment names the state."""
    found = []
    for each in psutil.process_iter():
        try:
            command = each.cmdline()
            known = [*command, each.cwd(), *each.environ().values()]
        except psutil.Error:
            continue
        if any(str(stack.state) in text for text in known):
            found.append(command)
    return found


def fill(path: Path) -> None:
    """Write a file until there is no space left."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert os.statvfs(path).f_bavail == 0


def test_the_disk_is_full(
    given: Path, image: bytes, tmp_path: Path, small_weights: Weights
) -> None:
    """Clients notice nothing; a deploy is refused, and works once there is space."""
    network = ConvNet(WIDTHS, classes=3)
    network.initialize_whitening(torch.randn(16, 3, 32, 32))
    arguments = {"widths": WIDTHS, "classes": 3}
    large = replace(small_weights, network=network.eval(), arguments=arguments)
    second = Pets(large, tmp_path / "large").archive("2.0")
    assert second.stat().st_size > 1 << 20
    stack = Stack(given, tmp_path, image)
    stack.state.mkdir()
    with mounted(stack.state, *DISK), started(stack), stack.asked(1):
        filling = stack.state / "filling"
        fill(filling)
        time.sleep(SECONDS)
        assert stack.ready()
        refused = stack.attempt("deploy", second)
        assert refused.returncode == 1, refused.stdout
        assert "No space left on device" in refused.stderr
        # Enough for logs and what is written down, and too little for the archive.
        os.truncate(filling, filling.stat().st_size - second.stat().st_size // 2)
        refused = stack.attempt("deploy", second)
        assert refused.returncode == 1, refused.stdout
        assert f"{second} could not be copied to {stack.server.store}" in refused.stderr
        assert "No space left on device" in refused.stderr
        assert Record.load(stack.state)["pets"].serving.version == "1.0"
        assert stack.versions() == ["1.0"]
        assert stack.ready()
        assert stack.answers.keys() == {"1.0"}, stack.answers
        filling.unlink()
        stack.run("deploy", second)
        assert stack.versions() == ["2.0"]
        record = Record.load(stack.state)["pets"]
        assert (record.coming, record.leaving) == (None, None)
    assert stack.answers.keys() == {"1.0", "2.0"}, stack.answers


def test_the_disk_of_one_of_two_servers_is_full(
    stand_in: Callable[..., StandIn], tmp_path: Path, make: Make
) -> None:
    """Both serve what they did, and nothing of the new version is left on the other."""
    second = make("2.0")
    (tmp_path / "first").mkdir()
    with mounted(tmp_path / "first", *DISK):
        servers = [stand_in("first"), stand_in("second")]
        try:
            filling = tmp_path / "first/filling"
            said: list[str] = []

            def say(step: str) -> None:
                said.append(step)
                tested = sum("gives the expected predictions" in each for each in said)
                if tested == 2 and not filling.exists():
                    fill(filling)

            with pytest.raises((OSError, ServerError), match="No space left on device"):
                deploy(servers, second, say)
            assert filling.exists(), said
            for server in servers:
                assert server.client.describe("pets")["modelVersion"] == "1.0"
            left = [each["modelVersion"] for each in servers[1].client.versions("pets")]
            assert left == ["1.0"], said
            filling.unlink()
            deploy(servers, second)
            for server in servers:
                left = [each["modelVersion"] for each in server.client.versions("pets")]
                assert left == ["2.0"]
        finally:
            servers[0].stop()


def test_the_gateways_port_is_taken(stack: Stack) -> None:
    """The command names the port and leaves nothing running; on a free port it works."""
    running = left_of(stack)
    stack.run("gateway", "stop")
    before = left_of(stack)
    assert len(before) < len(running)
    with listening() as port:
        refused = stack.attempt(*stack.gateway(port))
        assert refused.returncode == 1, refused.stdout
        assert f"127.0.0.1:{port}" in refused.stderr
        assert "Address already in use" in refused.stderr
    assert [each for each in left_of(stack) if each not in before] == []
    # It would hold keys.
    assert not Path((stack.state / "gateway/runtime").read_text()).exists()
    stack.run(*stack.gateway(stack.port))
    stack.wait_ready()
    assert stack.ask() == "1.0"


def test_the_servers_port_is_taken(given: Path, image: bytes, tmp_path: Path) -> None:
    """The command names the port and starts nothing; on a free port it works."""
    stack = Stack(given, tmp_path, image)
    with listening() as port:
        refused = stack.attempt("serve", given, *ANY_PORTS, "--port", port, "--background")
        assert refused.returncode == 1, refused.stdout
        assert f"the inference port {port} is taken by process {os.getpid()}" in refused.stderr
    assert left_of(stack) == []
    assert Server.find(stack.state) is None
    with started(stack):
        assert left_of(stack)
        assert stack.ask() == "1.0"


def test_proxy_variables_are_set(given: Path, image: bytes, tmp_path: Path, make: Make) -> None:
    """All commands reach the server and the gateway past a proxy that is not there."""
    (tmp_path / "cat.png").write_bytes(image)
    proxies = dict.fromkeys((*NAMES, *map(str.lower, NAMES)), "http://127.0.0.1:9")
    stack = Stack(given, tmp_path, image, proxies)
    for name in ("NO_PROXY", "no_proxy"):
        stack.environment.pop(name, None)
    with started(stack):
        url = f"http://127.0.0.1:{stack.port}"
        usual = f"import requests; requests.get('{url}/ready', timeout=60)"
        failed = subprocess.run(
            [sys.executable, "-c", usual], env=stack.environment, capture_output=True, check=False
        )
        assert b"ProxyError" in failed.stderr
        assert json.loads(stack.run("status", "--json").stdout)["ready"]
        stack.run("deploy", make("2.0"))
        # It has no --state.
        predict = stack.command("predict", tmp_path / "cat.png", "--url", f"{url}/predict")[:-2]
        said = subprocess.run(
            [*predict, "--api-key", KEY["X-Api-Key"], "--json"],
            env=stack.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        assert said.returncode == 0, said.stderr
        assert json.loads(said.stdout)["predictions"][0]["label"].startswith("2.0 ")


def test_the_folder_becomes_read_only(stack: Stack, make: Make) -> None:
    """Clients notice nothing; a deploy names what it cannot write, and works once it can."""
    second = make("2.0")
    with stack.asked(1):
        # Over the folder, as open files keep a mount from being read-only; these stay writable.
        with mounted(stack.state, "--bind", str(stack.state)):
            subprocess.run(
                ["mount", "-o", "remount,ro,bind", str(stack.state)], check=True, text=True
            )
            with pytest.raises(OSError, match="Read-only file system"):
                (stack.state / "any").touch()
            refused = stack.attempt("deploy", second)
            assert refused.returncode == 1, refused.stdout
            assert "Read-only file system" in refused.stderr
            assert str(stack.state) in refused.stderr
            time.sleep(SECONDS)
            assert stack.ready()
            assert json.loads(stack.run("status", "--json").stdout)["ready"]
            assert stack.versions() == ["1.0"]
            assert stack.answers.keys() == {"1.0"}, stack.answers
        stack.run("deploy", second)
        assert stack.versions() == ["2.0"]
    assert stack.answers.keys() == {"1.0", "2.0"}, stack.answers


class Inside(Stack):
    """One in a network namespace, where its clients are too."""

    def __init__(self, namespace: str, archive: Path, folder: Path, image: bytes) -> None:
        super().__init__(archive, folder, image)
        self.inside = ("ip", "netns", "exec", namespace)
        self._file = folder / "image.png"
        self._file.write_bytes(image)

    def _curl(self, path: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        ask = ("curl", "--silent", "--fail", "--noproxy", "*", *arguments)
        return subprocess.run(
            [*self.inside, *ask, f"http://127.0.0.1:{self.port}{path}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )

    def ask(self) -> str:
        body = ("--data-binary", f"@{self._file}", "--header", "Content-Type:")
        done = self._curl("/predict", *body, "--header", f"X-Api-Key: {KEY['X-Api-Key']}")
        if done.returncode != 0:
            return f"curl: {done.returncode}"
        return str(json.loads(done.stdout)["predictions"][0]["label"].split()[0])

    def ready(self) -> bool:
        return self._curl("/ready").returncode == 0

    def processes(self) -> tuple[object, ...]:
        """The numbers of the gateway's, the server's and its workers' processes."""
        status = json.loads(self.run("status", "--json").stdout)
        assert status["ready"]
        gateway = int((self.state / "gateway/gateway.pid").read_text().split()[0])
        nginx = [each.pid for each in psutil.Process(gateway).children()]
        return gateway, nginx, status["pid"], [each["pid"] for each in status["workers"]]


@contextmanager
def namespace() -> Iterator[str]:
    """A network namespace with loopback alone; where this is not permitted, the test is skipped."""
    name = f"falconet-{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a network namespace is not permitted: {done.stderr.strip()}")
    try:
        loopback(name, "up")
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def loopback(namespace: str, state: str) -> None:
    subprocess.run(["ip", "-n", namespace, "link", "set", "lo", state], check=True)


@pytest.mark.needs("ip", "curl")
def test_the_network_goes_away(given: Path, image: bytes, tmp_path: Path) -> None:
    """Clients get answers again ten seconds after it is back; nothing is started again."""
    with namespace() as name, started(Inside(name, given, tmp_path, image)) as stack:
        assert isinstance(stack, Inside)
        before = stack.processes()
        with stack.asked(2):
            time.sleep(1)
            loopback(name, "down")
            time.sleep(1)
            silent = stack.answers.copy()
            time.sleep(4)
            assert stack.answers["1.0"] == silent["1.0"] > 0
            loopback(name, "up")
            deadline = time.monotonic() + 10
            while stack.ask() != "1.0":
                assert time.monotonic() < deadline, stack.answers
            stack.wait_ready(max(0.0, deadline - time.monotonic()))
        stack.answers.clear()
        with stack.asked(2):
            time.sleep(SECONDS)
        assert stack.answers.keys() == {"1.0"}, stack.answers
        assert stack.processes() == before


class Date:
    """The date of a stack's processes, which jumps where the machine's does not.

    Attributes:
        environment: of the processes.
    """

    def __init__(self, folder: Path) -> None:
        self._jump, library = folder / "jump", folder / "clock.so"
        self.set(0)
        (folder / "clock.c").write_text(CLOCK)
        build = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(folder / "clock.c")]
        subprocess.run(build, check=True)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_JUMP": str(self._jump)}

    def set(self, seconds: int) -> None:
        """Be so many seconds ahead from now on."""
        # In place: the processes have it in their memory.
        with self._jump.open("r+b" if self._jump.exists() else "wb") as file:
            file.write(seconds.to_bytes(8, sys.byteorder, signed=True))


@contextmanager
def killed(process: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    """It is killed at the end."""
    try:
        yield process
    finally:
        process.kill()
        process.wait(TIMEOUT)


@pytest.mark.needs("cc")
def test_the_clock_jumps(given: Path, image: bytes, tmp_path: Path, make: Make) -> None:
    """Shares of a trial and readiness stay; the share of a trial that is killed ends in time."""
    date = Date(tmp_path)
    second = make("2.0")
    trial = ("canary", second, "--percent", "50", "--duration", "100")
    today = datetime.now().astimezone()
    with started(Stack(given, tmp_path, image, date.environment)) as stack:
        with stack.asked(2), killed(stack.begin(*trial)) as process:
            deadline = time.monotonic() + COMMAND_SECONDS
            while not stack.answers["2.0"]:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            for days in (1, -1, 1):
                date.set(days * DAY)
                for _ in range(3):
                    stack.answers.clear()
                    time.sleep(1)
                    assert stack.answers.keys() == {"1.0", "2.0"}, stack.answers
                    assert stack.ready()
                assert process.poll() is None
        # By date, its lease would end in two days.
        date.set(-DAY)
        with stack.asked(1):
            time.sleep(LEASE_SECONDS + SECONDS)
            stack.answers.clear()
            time.sleep(SECONDS)
            assert stack.answers.keys() == {"1.0"}, stack.answers
            assert stack.ready()
        stack.run("deploy", second)
        assert stack.versions() == ["2.0"]
    # nginx's and Java's.
    logs = [stack.state / each for each in ("gateway/access.log", "logs/access_log.log")]
    for text in (log.read_text() for log in logs):
        for days in (1, -1):
            assert f"{today + timedelta(days):%Y-%m-%d}" in text, "it has not jumped"
