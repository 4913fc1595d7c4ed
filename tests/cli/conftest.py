"""The installed command."""

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
