"""The Dockerfile, and that what it runs works where it runs."""

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from falconet.cli.main import main
from falconet.handler import ENTRY
from falconet.model.archive import Serving, archive

TIMEOUT = 240
STATE = "/var/lib/falconet"


def test_signals_reach_the_command(image: Any) -> None:
    command = image.command("ENTRYPOINT")
    assert command[:4] == ["tini", "--", "falconet", "up"]
    assert image.one("STOPSIGNAL") == "SIGTERM"
    assert image.command("CMD")[0].endswith(".mar")


def test_it_is_nobody_who_could_write(image: Any) -> None:
    user, _, group = image.one("USER").partition(":")
    assert user.isdecimal()
    assert int(user) >= 10000
    assert group == user
    # What comes after would be run as that user, and what comes before is root's.
    words = [word for word, _ in image.instructions]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word in ("RUN", "COPY"))
    assert image.one("VOLUME") == STATE
    (made,) = (line for line in image.all("RUN") if "useradd" in line)
    assert f"--owner {user} --group {user} {STATE}" in made
    assert f"--uid {user} --gid {user} " in made
    assert image.environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert image.environment["HOME"] == "/tmp"


def test_only_the_gateway_is_exposed(image: Any) -> None:
    gateway = main.get_command(None, "gateway")  # type: ignore[arg-type]
    assert gateway is not None
    (port,) = (each for each in gateway.params if each.name == "port")
    assert image.one("EXPOSE") == str(port.default)


def test_the_health_check_is_about_the_same_folder(image: Any) -> None:
    options, _, command = image.one("HEALTHCHECK").partition("CMD ")
    assert "--start-period=" in options
    program, name, *arguments = json.loads(command)
    assert program == "falconet"
    entry = image.command("ENTRYPOINT")
    assert entry[entry.index("--state") + 1] == STATE
    status = main.get_command(None, name)  # type: ignore[arg-type]
    assert status is not None
    parsed = status.make_context(name, arguments).params
    assert parsed["state"] == Path(STATE)


def test_the_options_exist(image: Any, tmp_path: Path) -> None:
    """All but that the files do, which are mounted where the image runs."""
    _, _, program, name, *entry = image.command("ENTRYPOINT")
    assert program == "falconet"
    here = [
        each if not each.startswith(("/etc", "/models")) else str(tmp_path / Path(each).name)
        for each in image.command("CMD")
    ]
    for each in here:
        if each.startswith(str(tmp_path)):
            Path(each).touch()
    command = main.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    parsed = command.make_context(name, [*entry, *here]).params
    assert parsed["host"] == "0.0.0.0"
    assert parsed["state"] == Path(STATE)
    assert parsed["api_keys"] == tmp_path / "keys"


def test_everything_that_is_installed_is_copied(image: Any, repository: Path) -> None:
    """The build's context, which .dockerignore leaves, has all that the wheel is made of."""
    text = (repository / "deploy" / "container" / "Dockerfile").read_text()
    copied = {
        name
        for line in re.findall(r"(?m)^COPY (?!--from)(.*)$", text)
        for name in line.split()[:-1]
    }
    lines = (repository / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    assert copied == {line[1:] for line in lines if line.startswith("!")}
    rooms = set(re.findall(r'"falconet\.\w+": "(\w+)"', (repository / "setup.py").read_text()))
    assert len(rooms) == 8
    assert rooms <= copied
    assert all((repository / name).exists() for name in copied)


def test_the_version_of_torch_is_one_that_is_supported(
    repository: Path, project: dict[str, Any]
) -> None:
    text = (repository / "deploy" / "container" / "Dockerfile").read_text()
    (pinned,) = re.findall(r"'torch==([\d.]+)\.\*'", text)
    serve = project["optional-dependencies"]["serve"]
    (allowed,) = (each for each in serve if each.startswith("torch>"))
    low, high = re.findall(r"[\d.]+", allowed)
    assert _numbers(low) <= _numbers(pinned) < _numbers(high)
    assert f"falconet:{project['version']}" in text


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


ASK = """
import json, ssl, sys, urllib.error, urllib.request
path, key, image = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
body = open(image, "rb").read() if image else None
headers = {"X-Api-Key": key, "Content-Type": "image/png"}
request = urllib.request.Request(f"https://127.0.0.1:8443{path}", body, headers)
try:
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        print(json.dumps([answer.status, json.load(answer)]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, json.load(error)]))
except OSError as error:
    print(json.dumps([0, str(error)]))
"""


@pytest.mark.long
@pytest.mark.server
@pytest.mark.timeout(600)
def test_it_serves_where_it_runs_until_it_is_ended(
    image: Any, run: Any, exported: Path, samples: list[Path], tmp_path: Path
) -> None:
    """As process 1, of the image's user, without capabilities, in a read-only file system.

    There is no container here: what the image itself holds is not tested.
    """
    archive(exported, tmp_path / "cifar10.mar", handler=ENTRY, serving=Serving(workers=1))
    (tmp_path / "keys").write_text("s3cret alice\n")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-keyout", str(tmp_path / "tls.key"), "-out", str(tmp_path / "tls.crt")),
        ],
        check=True,
        capture_output=True,
    )
    (tmp_path / "tls.key").chmod(0o644)  # where it runs, a group has it
    mounts = {each: tmp_path / Path(each).name for each in image.command("CMD") if each[0] == "/"}
    assert len(mounts) == 4
    container = run(image, mounts, [*image.command("ENTRYPOINT"), *image.command("CMD")])

    def ask(path: str, key: str = "", image: str = "") -> list[Any]:
        done = container.inside(ASK, path, key, image)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, list)
        return found

    deadline = time.monotonic() + TIMEOUT
    while ask("/ready")[0] != 200:
        said = container.output.read_text()
        assert container.unshare.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.5)
    assert ask("/live") == [200, {"live": True}]
    status, answer = ask("/predict", "s3cret", str(samples[4]))
    assert status == 200, answer
    assert answer["predictions"][0]["label"] == "frog"
    assert ask("/predict", "", str(samples[4]))[0] == 401
    # Nobody of it is root, or could become so.
    processes = [container.first, *container.first.children(recursive=True)]
    assert {"tini", "nginx", "java"} <= {each.name() for each in processes}
    user = int(image.one("USER").partition(":")[0])
    assert {each.uids().real for each in processes} == {user}
    assert {each.uids().effective for each in processes} == {user}
    container.first.terminate()
    assert container.unshare.wait(timeout=TIMEOUT) == 0, container.output.read_text()
    assert not any(each.is_running() for each in processes)
