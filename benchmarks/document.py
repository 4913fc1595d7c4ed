"""Where the figures go, and what they were measured on."""

import argparse
import json
import os
import platform
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from falconet.training import results, run

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
RESULTS = ROOT / "benchmarks" / "results"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Of a question's options; its docstring stays as it is written."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def processor() -> str:
    """Its name, and its family and model where it has any: vendors give one name to several."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    fields = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    if "cpu family" not in fields:
        return run.processor()
    return f"{run.processor()} (family {fields['cpu family']}, model {fields['model']})"


def environment() -> str:
    """The machine and the versions, in a line."""
    packages = ("torch", "torchserve", "numpy", "pillow", "simplejpeg")
    versions = [f"{name} {metadata.version(name)}" for name in packages]
    cores = len(os.sched_getaffinity(0))
    python = f"python {platform.python_version()}"
    used = "1 core" if cores == 1 else f"{cores} cores"
    return f"{processor()}, {used}; {', '.join([python, *versions])}"


def conditions() -> dict[str, Any]:
    """Under which something is measured that begins now."""
    return {
        "machine": environment(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "load": os.getloadavg()[0],
    }


def load(question: str) -> dict[str, Any]:
    """What was measured before."""
    found: dict[str, Any] = json.loads((RESULTS / f"{question}.json").read_text())
    return found


def keep(question: str, result: dict[str, Any], quick: bool = False) -> Path:
    """Write down what was measured, where it is quick into ``build/``; plots go where is said."""
    folder = ROOT / "build" / question if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{question}.json").write_text(json.dumps(result, indent=1) + "\n")
    return folder if quick else DOCS


def write(page: Path, question: str, text: str, block: str = "") -> None:
    """Put text between the markers of a block, by default the question's, of a page."""
    results.replace_between(page, block or question, command(question), text)


def command(question: str) -> str:
    """That asks it."""
    return f"python -m benchmarks.{question}"


def measured(question: str, machine: str) -> str:
    """The last sentence of what is written."""
    return f"Measured by `{command(question)}` on {machine}."
