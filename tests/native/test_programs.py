"""The C++ without Python, in programs of its own: what it allocates, and whether threads race."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from falconet.native import implementations

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent / "csrc"
# Where setup.py keeps them.
PLACE = f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
OBJECTS = HERE.parent.parent / "build" / "objects" / PLACE / "csrc"
COMPILER = shutil.which("c++") or shutil.which("g++")
# A sanitizer that this process was started with is not meant for the compiler and its program.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")


def compiled(files: list[Path]) -> list[Path]:
    """The extension's object files of these sources, or where one is outdated the sources."""
    objects = [OBJECTS / f"{path.stem}.o" for path in files]
    changed = max(path.stat().st_mtime for path in (*files, *SOURCES.glob("*.h")))
    current = all(path.exists() and path.stat().st_mtime > changed for path in objects)
    return objects if current else files


def build(name: str, folder: Path, *flags: str) -> Path:
    """The program of this name beside this file, with all of the C++ but what knows Python."""
    files = [path for path in sorted(SOURCES.glob("*.cpp")) if not path.name.startswith("bindings")]
    if not flags:
        files = compiled(files)
    flags = ("-std=c++17", "-O1", "-Wall", "-Wextra", "-pthread", f"-I{SOURCES}", *flags)
    subprocess.run(
        [str(COMPILER), *flags, "-o", folder / name, HERE / f"{name}.cpp", *files],
        check=True,
        env=ENVIRONMENT,
    )
    return folder / name


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        timeout=200,
    )


@pytest.fixture(scope="module")
def steady_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("steady_state", tmp_path_factory.mktemp("steady_state"))


def allocations(program: Path, *arguments: str) -> dict[str, tuple[int, int]]:
    """By implementation: on one thread, and on the two of a pool."""
    finished = run(program, *arguments)
    lines = re.findall(r"^(\w+): (\d+) allocations, (\d+) on two threads$", finished.stdout, re.M)
    assert finished.stderr == ""
    assert finished.returncode == any(int(n) for line in lines for n in line[1:])
    return {name: (int(alone), int(in_pool)) for name, alone, in_pool in lines}


def test_images_like_those_before_allocate_nothing(steady_state: Path) -> None:
    assert allocations(steady_state) == dict.fromkeys(implementations(), (0, 0))


def test_a_new_size_does_allocate(steady_state: Path) -> None:
    """The counting works, on this thread and then on the one that had not seen it yet."""
    counted = allocations(steady_state, "unseen")
    assert counted.keys() == set(implementations())
    for alone, in_pool in counted.values():
        assert alone > 0
        assert in_pool > 0


@pytest.mark.long
def test_threads_do_not_race(tmp_path: Path) -> None:
    races = build("races", tmp_path, "-g", "-fsanitize=thread")
    finished = run(races)
    assert (finished.returncode, finished.stderr) == (0, "")
    (in_pool,) = re.findall(r"^(\d+) tasks on threads of the pool$", finished.stdout, re.M)
    assert int(in_pool) > 0
    # One that is made on purpose is found.
    finished = run(races, "race")
    assert finished.returncode != 0
    assert "ThreadSanitizer: data race" in finished.stderr
