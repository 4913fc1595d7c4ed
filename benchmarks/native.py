"""Building the benchmarks that are in C++, with the kernels as the extension has them."""

import subprocess
from pathlib import Path

from document import ROOT

FLAGS = ["-std=c++17", "-O3", "-ffp-contract=off"]
# What knows Python, or threads.
LEFT_OUT = ("bindings.cpp", "thread_pool.cpp")


def build(name: str, folder: Path, *libraries: str) -> Path:
    """Compile ``benchmarks/NAME.cpp`` into a folder, and return the program."""
    program = folder / name
    kernels = [str(p) for p in (ROOT / "csrc").glob("*.cpp") if p.name not in LEFT_OUT]
    source = str(ROOT / "benchmarks" / f"{name}.cpp")
    command = ["c++", *FLAGS, f"-I{ROOT / 'csrc'}", "-o", str(program), source, *kernels]
    subprocess.run([*command, *libraries], check=True)
    return program
