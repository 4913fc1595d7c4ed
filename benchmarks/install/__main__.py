"""Measures what `pip install falconet` alone takes: a download, a disk, and the time of an import.

    .venv/bin/python -m benchmarks.install

Builds the wheel, fetches NumPy's, and installs both into an environment of their own. Writes
benchmarks/results/install.json and the table in README.md. Takes two minutes and a network.
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
PARTS = ("falconet", "numpy")  # as names of wheels and folders begin
NAMES = ("Falconet", "NumPy")
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def wheels(folder: Path) -> None:
    """Build ours, and fetch the NumPy that is in use here."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    subprocess.run(build, cwd=document.ROOT, stdout=subprocess.DEVNULL, check=True)
    numpy = f"numpy=={metadata.version('numpy')}"
    fetch = ("download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), numpy)
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
    files = [each for each in folder.glob(pattern) if each.is_file()]
    return {
        part: sum(
            each.stat().st_size
            for each in files
            if each.relative_to(folder).parts[0].startswith(part)
        )
        for part in PARTS
    }


def import_seconds(python: Path) -> dict[str, float]:
    """Of an import by a new process, as Python counts it; NumPy's is a part of ours."""
    command = [python, "-X", "importtime", "-c", "import falconet.native"]
    said = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True).stderr
    found = {}
    for module in ("falconet.native", "numpy"):
        (microseconds,) = re.findall(rf"(?m)\| +(\d+) \| +{re.escape(module)}$", said)
        found[module] = int(microseconds) / 1e6
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
    low, middle, high = seconds(result["imports"], "falconet.native")
    numpy = seconds(result["imports"], "numpy")[1]
    rows = [
        ["downloaded, as wheels", megabytes(result["downloaded"])],
        ["on the disk, with bytecode", megabytes(result["installed"])],
        [
            "`import falconet.native`",
            f"**{middle} s** ({low} to {high}), of which NumPy's import {numpy}",
        ],
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
    document.write(document.ROOT / "README.md", "install", page(result))


if __name__ == "__main__":
    main()
