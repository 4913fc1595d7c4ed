"""A server and a gateway before it, run by the commands, for tests of what happens at failures."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests

from falconet.serving.ports import free_ports
from falconet.serving.server import Server

TIMEOUT = 60
# Of a command: workers start at the lowest priority, which on a busy machine takes minutes.
COMMAND_SECONDS = 240
KEY = {"X-Api-Key": "abc"}
ANY_PORTS = ("--port", "0", "--management-port", "0", "--metrics-port", "0")
# In many companies; nothing listens there.
PROXY = dict.fromkeys(("HTTP_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")


class Stack:
    """A server and a gateway before it, by their commands, and what clients are answered.

    Args:
        archive: that is served.
        folder: for the state and the keys.
        image: that clients ask about.
        environment: of the commands, beside what they inherit.

    Attributes:
        state: the folder of the server's state.
        port: of the gateway.
        answers: counted by version, or by status where there is none.
    """

    # What the commands are run by.
    inside: tuple[str, ...] = ()
    # Options of the gateway.
    limits: tuple[object, ...] = ()
    metrics_port = 0

    def __init__(
        self, archive: Path, folder: Path, image: bytes, environment: Mapping[str, str] = PROXY
    ) -> None:
        self.archive, self.state, self._image = archive, folder / "state", image
        self.keys = folder / "keys"
        self.keys.write_text("abc me\n")
        self.port = 0
        self.answers: Counter[str] = Counter()
        self.environment = {**os.environ, **environment}

    def start(self) -> None:
        """Return when the gateway says that it is ready."""
        self.serve()
        (self.port,) = free_ports(1)  # at the last moment, as other tests look for some too
        self.run(*self.gateway(self.port))
        self.wait_ready()

    def gateway(self, port: int) -> tuple[object, ...]:
        """The command of a gateway."""
        listening = ("--api-keys", self.keys, "--no-tls", "--port", port)
        others = ("--notice-seconds", "0.1", "--gateway-metrics-port", self.metrics_port)
        return ("gateway", *listening, *others, *self.limits, "--background")

    def command(self, *arguments: object) -> list[str]:
        return [
            *self.inside,
            sys.executable,
            "-m",
            "falconet.cli",
            *map(str, arguments),
            "--state",
            str(self.state),
        ]

    def attempt(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        """Run a command, which may fail."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )

    def run(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        done = self.attempt(*arguments)
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
                data=self._image,
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
        try:
            self.run("gateway", "stop")
        finally:
            self.run("stop")


@contextmanager
def started(stack: Stack) -> Iterator[Stack]:
    """Starts it; whatever happens, it does not outlive the block."""
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
