"""The installed command."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def falconet() -> str:
    """Its path, beside the Python that runs the tests."""
    path = shutil.which("falconet", path=str(Path(sys.executable).parent))
    assert path is not None
    return path


@pytest.fixture(scope="session")
def run(falconet: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs it with arguments, to its end."""

    def run_it(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [falconet, *map(str, arguments)], capture_output=True, text=True, check=False
        )

    return run_it


@pytest.fixture(scope="session")
def begin(falconet: str) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts it with arguments; what it says, also of errors, can be read as it comes."""

    def begin_it(*arguments: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [falconet, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    return begin_it
