"""That the C++ allocates nothing for pictures whose like it has seen before."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from falconet.native import implementations

HERE = Path(__file__).parent
COMPILER = shutil.which("c++") or shutil.which("g++")
# A sanitizer that this process was started with is not meant for the compiler and its program.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = HERE.parent.parent / "csrc"
    built = tmp_path_factory.mktemp("steady_state") / "steady_state"
    files = [path for path in sorted(sources.glob("*.cpp")) if path.name != "bindings.cpp"]
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-pthread", f"-I{sources}"]
    subprocess.run(
        [str(COMPILER), *flags, "-o", built, HERE / "steady_state.cpp", *files],
        check=True,
        env=ENVIRONMENT,
    )
    return built


def allocations(program: Path, *arguments: str) -> dict[str, tuple[int, int]]:
    """By implementation: on one thread, and on the two of a pool."""
    finished = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    lines = re.findall(r"^(\w+): (\d+) allocations, (\d+) on two threads$", finished.stdout, re.M)
    assert finished.stderr == ""
    assert finished.returncode == any(int(n) for line in lines for n in line[1:])
    return {name: (int(alone), int(in_pool)) for name, alone, in_pool in lines}


def test_pictures_like_those_before_allocate_nothing(program: Path) -> None:
    assert allocations(program) == dict.fromkeys(implementations(), (0, 0))


def test_a_new_size_does_allocate(program: Path) -> None:
    """The counting works, on this thread and then on the one that had not seen it yet."""
    counted = allocations(program, "unseen")
    assert counted.keys() == set(implementations())
    for alone, in_pool in counted.values():
        assert alone > 0
        assert in_pool > 0
