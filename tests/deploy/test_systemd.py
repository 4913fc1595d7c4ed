"""The unit, by systemd's own tool, and that it ends what it runs in order."""

import shlex
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from falconet.cli.main import main
from falconet.serving import gateway, processes

Unit = dict[str, list[str]]
# What systemd before 254 says of keys that it does not know yet.
NEWER = tuple(
    f"'{key}' in section [Service], ignoring." for key in ("RestartSteps", "RestartMaxDelaySec")
)
EXPOSURE = 20  # of 100, which is the worst


@pytest.fixture
def path(repository: Path) -> Path:
    return repository / "deploy" / "systemd" / "falconet.service"


@pytest.fixture
def unit(path: Path) -> Unit:
    found: Unit = defaultdict(list)
    for line in path.read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


@pytest.fixture
def parsed(unit: Unit, tmp_path: Path) -> dict[str, Any]:
    """What the command makes of the unit's words, in a place where the files exist."""
    (line,) = unit["ExecStart"]
    program, name, *words = shlex.split(line)
    assert Path(program).name == "falconet"
    credentials = {each.partition(":")[0] for each in unit["LoadCredential"]}
    used = {each.removeprefix("%d/") for each in words if each.startswith("%d/")}
    assert used == credentials
    for each in used:
        (tmp_path / each).touch()
    command = main.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    return command.make_context(name, [each.replace("%d", str(tmp_path)) for each in words]).params


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_it(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    # What it runs is not installed here.
    copy.write_text(path.read_text().replace("/opt/falconet/bin/falconet", "/bin/true"))
    for command in (
        ["verify", str(copy)],
        ["security", "--offline=yes", f"--threshold={EXPOSURE}", str(copy)],
    ):
        done = subprocess.run(
            ["systemd-analyze", *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said = [line for line in done.stderr.splitlines() if path.name in line]
        assert [line for line in said if not line.endswith(NEWER)] == []


def test_it_ends_in_order(unit: Unit, parsed: dict[str, Any]) -> None:
    """A signal to all processes at once would end the workers before nginx has their answers."""
    assert unit["KillMode"] == ["mixed"]
    assert unit["KillSignal"] == ["SIGTERM"]
    longest = (
        parsed["notice_seconds"]
        + parsed["timeout"]
        + gateway.GRACE_SECONDS
        + parsed["drain_seconds"]
        + processes.STOP_SECONDS
        + processes.KILL_SECONDS
    )
    assert float(unit["TimeoutStopSec"][0]) > longest


def test_it_is_started_again_with_what_was_deployed(unit: Unit, parsed: dict[str, Any]) -> None:
    assert unit["Restart"] == ["always"]
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert parsed["state"] == Path("/var/lib", unit["StateDirectory"][0])
    assert not parsed["no_tls"]


def test_it_has_no_rights_it_does_not_need(unit: Unit) -> None:
    assert unit["User"] not in ([], ["root"])
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == [""]
    expected = {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes"}
    expected |= {"PrivateTmp": "yes", "PrivateDevices": "yes", "RestrictNamespaces": "yes"}
    assert {name: unit[name] for name in expected} == {k: [v] for k, v in expected.items()}
    # Java writes the code that it runs.
    assert "MemoryDenyWriteExecute" not in unit
