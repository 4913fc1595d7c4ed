"""docs/commands.md has the help texts of the commands as they are."""

import subprocess
import sys
from pathlib import Path

import pytest

from falconet.cli.help_page import WIDTH, help_page
from falconet.cli.main import COMMANDS


def test_the_committed_page_is_current(repository: Path, tmp_path: Path) -> None:
    # In a new process: click keeps the options of a command that another test has run by itself.
    page = tmp_path / "commands.md"
    subprocess.run([sys.executable, "-m", "falconet.cli.help_page", page], check=True)
    committed = (repository / "docs" / "commands.md").read_text()
    assert committed == page.read_text(), "run: python -m falconet.cli.help_page"


def test_the_page_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = help_page()
    monkeypatch.setenv("COLUMNS", "40")
    assert help_page() == expected


def test_each_command_has_its_options_on_the_page() -> None:
    page = help_page()
    for name in COMMANDS:
        assert f"### falconet {name}\n\n```text\nUsage: falconet {name} " in page
    assert "### falconet gateway reload\n" in page
    assert "--api-keys" in page
    assert all(len(line) <= WIDTH for line in page.splitlines() if line.startswith("  "))
