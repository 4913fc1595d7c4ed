"""Measures what `pip install falconet` alone takes: a download, a disk, and the time of an import.

    .venv/bin/python -m benchmarks.install

Builds the wheel, fetches those it depends on, and installs all into an environment of their own.
Writes benchmarks/results/install.json and the table in docs/native.md. Takes two minutes and a
network.
"""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

from .. import document
from ..table import table

ROUNDS = 15
NAMED = ("falconet", "numpy")  # as names of wheels and folders begin; the rest is HTTPX's
PARTS = (*NAMED, "httpx")
NAMES = ("Falconet", "NumPy", "HTTPX and what it needs")
MODULES = ("falconet.native", "numpy", "falconet.client", "httpx")
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def wheels(folder: Path) -> None:
    """Build ours, and fetch the versions of others that are in use here."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    subprocess.run(build, cwd=document.ROOT, stdout=subprocess.DEVNULL, check=True)
    others = [f"{name}=={metadata.version(name)}" for name in ("numpy", "httpx")]
    fetch = ("download", "--only-binary", ":all:", "--dest", str(folder), *others)
    subprocess.run([*PIP, *fetch], check=True)


def install(found: Path, folder: Path) -> tuple[Path, Path]:
    """An environment with these wheels alone: its Python, and where the packages are."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    offline = ("install", "--no-index", "--find-links", str(found), "falconet")
    subprocess.run([*PIP, "--python", str(python), *offline], check=True)
    program = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return python, Path(subprocess.check_output([python, "-c", program], text=True).strip())


def sizes(folder: Path, pattern: str) -> dict[str, int]:
    """Bytes of each part's files in a folder."""
    found = dict.fromkeys(PARTS, 0)
    for each in folder.glob(pattern):
        if each.is_file():
            top = each.relative_to(folder).parts[0]
            found[next((part for part in NAMED if top.startswith(part)), "httpx")] += (
                each.stat().st_size
            )
    return found


def import_seconds(python: Path) -> dict[str, float]:
    """Of imports by new processes, as Python counts them; others' are a part of ours."""
    found = {}
    for module in ("falconet.native", "falconet.client"):
        command = [python, "-X", "importtime", "-c", f"import {module}"]
        said = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True).stderr
        for name in MODULES:
            for microseconds in re.findall(rf"(?m)\| +(\d+) \| +{re.escape(name)}$", said):
                found.setdefault(name, int(microseconds) / 1e6)
    return found


def measure() -> dict[str, Any]:
    with TemporaryDirectory(prefix="falconet-") as temporary:
        found = Path(temporary, "wheels")
        found.mkdir()
        wheels(found)
        python, packages = install(found, Path(temporary, "environment"))
        import_seconds(python)  # what is read from the disk once
        return {
            "downloaded": sizes(found, "*.whl"),
            "installed": sizes(packages, "**/*"),
            "imports": [import_seconds(python) for _ in range(ROUNDS)],
        }


def megabytes(bytes: dict[str, int]) -> str:
    parts = ", ".join(f"{n} {bytes[p] / 1e6:.1f}" for p, n in zip(PARTS, NAMES, strict=True))
    return f"**{sum(bytes.values()) / 1e6:.1f} MB**: {parts}"


def seconds(imports: list[dict[str, float]], module: str) -> list[str]:
    """The quartiles."""
    return [f"{each:.3f}" for each in quantiles([found[module] for found in imports])]


def page(result: dict[str, Any]) -> str:
    def imported(module: str, other: str, name: str) -> list[str]:
        low, middle, high = seconds(result["imports"], module)
        of_others = seconds(result["imports"], other)[1]
        said = f"**{middle} s** ({low} to {high}), of which {name}'s import {of_others}"
        return [f"`import {module}`", said]

    rows = [
        ["downloaded, as wheels", megabytes(result["downloaded"])],
        ["on the disk, with bytecode", megabytes(result["installed"])],
        imported("falconet.native", "numpy", "NumPy"),
        imported("falconet.client", "httpx", "HTTPX"),
    ]
    return (
        f"{table(['`pip install falconet`', ''], rows)}\n\nTimes are medians of "
        f"{len(result['imports'])} new processes, with quartiles. "
        f"{document.measured('install', result['machine'])}\n"
    )


def main() -> None:
    document.parser(__doc__).parse_args()
    result = document.conditions() | measure()
    document.keep("install", result)
    print(page(result))
    document.write(document.DOCS / "native.md", "install", page(result))


if __name__ == "__main__":
    main()
