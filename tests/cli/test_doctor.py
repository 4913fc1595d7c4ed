"""falconet doctor, completion, and options that were called otherwise."""

import json
import socket
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from falconet.cli import doctor
from falconet.cli.main import main
from falconet.cli.option import RenamedOption
from falconet.native import available_cores
from falconet.serving.errors import ServerError

GB = 10**9


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


def found(monkeypatch: pytest.MonkeyPatch, **changed: object) -> tuple[int, dict[str, list[str]]]:
    """The exit status, and each finding's value and problem."""
    for name, value in changed.items():
        monkeypatch.setattr(doctor, name, value)
    status, output = run("doctor", "--json")
    return status, {each["name"]: [each["value"], each["problem"]] for each in json.loads(output)}


def test_what_this_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    status, findings = found(monkeypatch, available_memory=lambda: 64 * GB)
    assert status == 0
    assert findings["CPU cores"][0].startswith(f"{available_cores()},")
    assert "float32" in findings["fast precisions"][0]
    assert findings["Java"][1] == ""
    assert findings["profile"][0].endswith("MB of heap for Java")
    status, output = run("doctor")
    assert "PyTorch" in output


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise ServerError("expected it; install it")

    status, findings = found(monkeypatch, find_nginx=none)
    assert status == 0, "only the gateway needs nginx"
    assert "falconet gateway" in findings["nginx"][1]
    status, findings = found(monkeypatch, find_java=none)
    assert (status, findings["Java"]) == (1, ["none", "expected it; install it"])


def test_little_memory_means_fewer_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    status, findings = found(
        monkeypatch, available_memory=lambda: 1 * GB, available_cores=lambda: 4
    )
    assert status == 0
    assert findings["profile"][0].startswith("small: 1 workers with 1 thread")
    assert findings["profile"][1] == "with more memory: 4 workers"
    status, findings = found(monkeypatch, available_memory=lambda: GB // 2)
    assert status == 1
    assert findings["profile"][1].startswith("one worker and Java need ")


def test_a_port_in_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setitem(doctor.GATEWAY_PORTS, "gateway", port)
        _, findings = found(monkeypatch)
    assert f"gateway {port}" in findings["ports"][1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(shell: str) -> None:
    status, script = run("completion", shell)
    assert status == 0
    assert "_FALCONET_COMPLETE" in script
    if shell == "bash":
        checked = subprocess.run(["bash", "-n"], input=script.encode(), check=False)
        assert checked.returncode == 0


@click.command()
@click.option("--max-size", cls=RenamedOption, formerly="--body", default="1m", help="Largest.")
@click.option("--no-tls", cls=RenamedOption, formerly="--plain", is_flag=True, help="No TLS.")
def example(max_size: str, no_tls: bool) -> None:
    click.echo(f"{max_size} {no_tls}")


def test_an_earlier_name_works_and_is_not_shown() -> None:
    runner = CliRunner()
    assert runner.invoke(example, ["--max-size", "2m"]).output == "2m False\n"
    assert runner.invoke(example, ["--body", "3m", "--plain"]).output == "3m True\n"
    shown = runner.invoke(example, ["--help"]).output
    assert "--max-size TEXT" in shown
    assert "--body" not in shown
    assert "--plain" not in shown


def test_the_commands_are_shown_in_groups() -> None:
    _, output = run("--help")
    titles = [line for line in output.splitlines() if line.endswith(":") and line[0] != " "]
    assert titles == ["Options:", "Serve:", "Models:", "Train:", "Measure:", "Other:"]
