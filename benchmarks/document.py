"""Where the figures go, and what they were measured on."""

import os
import platform
from importlib import metadata
from pathlib import Path

from falconet.training import results
from falconet.training.run import processor

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
RESULTS = ROOT / "benchmarks" / "results"


def environment() -> str:
    """The machine and the versions, in a line."""
    packages = ("torch", "numpy", "pillow", "simplejpeg")
    versions = [f"{name} {metadata.version(name)}" for name in packages]
    cores = len(os.sched_getaffinity(0))
    python = f"python {platform.python_version()}"
    used = "1 core" if cores == 1 else f"{cores} cores"
    return f"{processor()}, {used}; {', '.join([python, *versions])}"


def replace_between(path: Path, name: str, text: str) -> None:
    """Put text between the markers of that name."""
    results.replace_between(path, name, f"benchmarks/{name}.py", text)
