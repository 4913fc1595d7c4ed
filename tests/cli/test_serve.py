"""falconet serve, status, stop, and what asks a server."""

import json
import shlex
import shutil
import signal
import socket
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from click.testing import CliRunner

from falconet.cli.main import main
from falconet.serving.processes import processes_of
from falconet.serving.server import Server

pytestmark = pytest.mark.server

ANY_PORTS = ["--port", "0", "--management-port", "0", "--metrics-port", "0"]


@pytest.fixture(scope="module")
def mar(make: Callable[..., Path]) -> Path:
    return make("1.0")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose server, if it still runs, does not outlive the test."""
    yield tmp_path / "state"
    server = Server.find(tmp_path / "state")
    if server is not None:
        server.stop()


@pytest.fixture
def serving(mar: Path, state: Path, falconet: str) -> Callable[..., Any]:
    """Runs ``falconet serve`` in the foreground; if it has not ended by then, it is killed."""

    @contextmanager
    def run_it(*options: object) -> Iterator[Any]:
        process = psutil.Popen(
            [falconet, "serve", mar, *ANY_PORTS, *options, "--state", state],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()

    return run_it


def started(state: Path) -> Server:
    """The server, before its model is loaded."""
    deadline = time.monotonic() + 60
    while (server := Server.find(state)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return server


def test_serves_in_the_foreground_until_it_is_ended(
    serving: Callable[..., Any], samples: list[Path], state: Path, tmp_path: Path
) -> None:
    image = tmp_path / "my frog.png"
    shutil.copy(samples[4], image)
    with serving("--image", image, "--page", "--page-port", "0") as process:
        ready, curl, page, hint = (process.stdout.readline().strip() for _ in range(4))
        assert ready.startswith("ready: pets"), ready + process.stdout.read()
        assert hint == "Ctrl-C stops it."
        server = Server.find(state)
        assert server is not None
        assert len(processes_of(server.temporary)) == 3, "what waits for Java, Java, and a worker"
        # The line works as printed.
        assert curl.startswith("curl -X POST -F 'image=@")
        answer = subprocess.run(
            [*shlex.split(curl), "--silent"], capture_output=True, text=True, check=True
        )
        assert json.loads(answer.stdout)["predictions"][0]["label"].startswith("1.0 ")
        url = page.removeprefix("page: ")
        listed = requests.get(f"{url}v2/models", timeout=60).json()
        assert listed == {"default": "pets", "models": [{"name": "pets", "versions": ["1.0"]}]}
        asked = requests.post(f"{url}predictions/pets", data=image.read_bytes(), timeout=60)
        assert asked.json()["predictions"] == json.loads(answer.stdout)["predictions"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert process.stdout.read() == "stopped\n"
        assert not processes_of(server.temporary)
    assert Server.find(state) is None


def test_a_page_is_refused_before_a_server_starts(mar: Path, state: Path) -> None:
    """In the background, where nobody would serve it, and where its port is taken."""
    arguments = ["serve", str(mar), *ANY_PORTS, "--state", str(state), "--page"]
    refused = CliRunner().invoke(main, [*arguments, "--background"])
    assert refused.exit_code == 2
    assert "cannot be combined with --background" in " ".join(refused.output.split())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = CliRunner().invoke(main, [*arguments, "--page-port", port])
    assert refused.exit_code == 1
    assert f"port {port} cannot be used for the page" in refused.output
    assert Server.find(state) is None


def test_ended_while_it_starts_it_leaves_nothing(serving: Callable[..., Any], state: Path) -> None:
    with serving() as process:
        server = started(state)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stdout.read() == "stopped\n"
        assert not processes_of(server.temporary)
    assert Server.find(state) is None


def test_a_terminal_that_closes_ends_it(serving: Callable[..., Any], state: Path) -> None:
    """Whatever the command says after that cannot be written any more."""
    with serving() as process:
        process.stdout.close()
        server = started(state)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        process.wait(timeout=60)
        assert not processes_of(server.temporary)


def test_serves_in_the_background_until_it_is_stopped(
    mar: Path, samples: list[Path], state: Path, run: Callable[..., Any]
) -> None:
    started = run("serve", mar, *ANY_PORTS, "--workers", "3", "--background", "--state", state)
    assert started.returncode == 0, started.stdout + started.stderr
    assert started.stdout.startswith("ready: pets")
    # Of models whose archive does not state their own number, as this one does.
    assert "default_workers_per_model=3" in (state / "config.properties").read_text().splitlines()

    status = run("status", "--state", state, "--json")
    assert status.returncode == 0
    found = json.loads(status.stdout)
    assert found["ready"] is True
    assert [worker["status"] for worker in found["workers"]] == ["READY"]
    text = run("status", "--state", state).stdout
    assert text.startswith("pets: ready\n")
    assert found["inference"] in text

    url = f"{found['inference']}/predictions/pets"
    asked = run("predict", samples[11], "--url", url, "--json")
    assert json.loads(asked.stdout)["predictions"][0]["label"].startswith("1.0 ")

    server = Server.find(state)
    assert server is not None
    stopped = run("stop", "--state", state)
    assert stopped.stdout == f"stopped pets (process {found['pid']})\n"
    assert not processes_of(server.temporary)
    assert not server.temporary.exists()
    server.ports.check()
    assert run("status", "--state", state, "--json").returncode == 1


def test_an_archive_that_is_not_ours_is_refused(mar: Path, tmp_path: Path) -> None:
    """One without ``spec.json``, and one whose file has another name; nothing is started."""
    foreign, renamed = tmp_path / "pets.mar", tmp_path / "cats.mar"
    with zipfile.ZipFile(mar) as old, zipfile.ZipFile(foreign, "w") as new:
        for name in old.namelist():
            if name != "spec.json":
                new.writestr(name, old.read(name))
    shutil.copy(mar, renamed)
    for path, message in (
        (foreign, f"migrate {foreign} --output NEW.mar"),
        (renamed, "holds the model pets: rename the file to pets.mar"),
    ):
        state = tmp_path / "state"
        result = CliRunner().invoke(main, ["serve", str(path), "--state", str(state)])
        assert result.exit_code == 1
        assert message in result.output
        assert not state.exists()


def test_evaluate_compares_with_a_server(
    server: Server, samples: list[Path], exported: Path, tmp_path: Path
) -> None:
    for path in samples:
        folder = tmp_path / "test" / path.stem.split("-")[1]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    url = server.client.prediction_url("cifar10")
    arguments = ["evaluate", str(exported), "--data", str(tmp_path), "--url", url]
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["served"]["answered"] == found["served"]["same_label"] == 16
    assert found["served"]["right"] == found["right"] >= 15
    text = CliRunner().invoke(main, arguments).output
    assert "16 answered, 16 with the same label" in text


def test_evaluate_ends_with_1_if_the_server_disagrees(
    server: Server, images: Path, exported: Path, tmp_path: Path
) -> None:
    """An image that the server refuses: larger than it accepts."""
    from PIL import Image

    (tmp_path / "test" / "ship").mkdir(parents=True)
    shutil.copy(images / "ship.jpg", tmp_path / "test" / "ship")
    Image.new("1", (8000, 7000)).save(tmp_path / "test" / "ship" / "large.png")
    url = server.client.prediction_url("cifar10")
    result = CliRunner().invoke(
        main, ["evaluate", str(exported), "--data", str(tmp_path), "--url", url, "--json"]
    )
    assert result.exit_code == 1
    found = json.loads(result.output)
    assert (found["served"]["answered"], found["served"]["same_label"]) == (1, 1)
