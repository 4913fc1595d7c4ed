"""Runs the tests without TorchServe, with the oldest and the newest Python and torch promised.

``python -m tests.versions [PYTHON-TORCH ...]``, for example ``3.12-2.13``. Each pair has an
environment of its own below ``build/versions``, made with uv, which finds interpreters in the path
and downloads others.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PAIRS = ("3.10-2.11", "3.13-2.14")
# By torch's minor version, of 2; they are built for each other.
TORCHVISION_MINOR = {11: 26, 12: 27, 13: 28, 14: 29}


def run(*command: str | Path, **variables: str) -> None:
    print("+", *command, flush=True)
    subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **variables}, check=True)


def test_pair(uv: str, pair: str) -> None:
    """Install the wheel of this checkout, and run all tests but those that start TorchServe."""
    python, _, torch = pair.partition("-")
    folder = REPOSITORY / "build" / "versions" / pair
    minor = TORCHVISION_MINOR[int(torch.partition(".")[2])]
    pins = [f"torch=={torch}.*", f"torchvision==0.{minor}.*"]
    if not folder.exists():
        run(uv, "venv", "--python", python, folder)
    install = [uv, "pip", "install", "--quiet", "--reinstall-package", "falconet"]
    run(*install, *pins, ".[dev]", VIRTUAL_ENV=str(folder))
    run(
        folder / "bin" / "pytest",
        "-n",
        "2",
        "--dist",
        "loadfile",
        "-m",
        "not server",
        PYTHONPATH="",
    )


def main() -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        sys.exit("uv is needed; install it with: pip install uv")
    for pair in sys.argv[1:] or PAIRS:
        test_pair(uv, pair)


if __name__ == "__main__":
    main()
