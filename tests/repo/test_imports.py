"""Who may import whom, and that no file is loaded under two names."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

# Room: the rooms it may import, besides itself.
ALLOWED = {
    "client": set(),
    "native": set(),
    "model": {"native"},
    "training": {"model", "native"},
    "handler": {"native"},
    "serving": {"client", "native", "model", "handler"},
    "scoring": {"native", "handler"},
    "cli": {"client", "native", "model", "training", "handler", "serving", "scoring"},
}
FOLDERS = {room: "csrc" if room == "native" else room for room in ALLOWED}


def imported_rooms(path: Path) -> set[str]:
    """The rooms of ours that a file imports, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "falconet":
            names = [f"falconet.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            # By its folder's name a room would be loaded a second time.
            assert first not in FOLDERS.values(), f"{path}: import {name} as falconet.*"
            if first == "falconet":
                rooms.add(rest.partition(".")[0])
    return rooms


def sources(repository: Path, room: str) -> list[Path]:
    return sorted((repository / FOLDERS[room]).rglob("*.py"))


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_it_may(repository: Path, room: str) -> None:
    files = sources(repository, room)
    assert files
    for path in files:
        forbidden = imported_rooms(path) - ALLOWED[room] - {room}
        assert not forbidden, f"{path.relative_to(repository)} imports {forbidden}"


@pytest.mark.parametrize("room", ALLOWED)
def test_within_a_room_imports_are_relative(repository: Path, room: str) -> None:
    for path in sources(repository, room):
        if path.name == "torchserve_entry.py":
            continue  # TorchServe loads it from an archive, where it is in no package
        assert room not in imported_rooms(path), path


def test_relative_imports_stay_in_their_room(repository: Path) -> None:
    for room in ALLOWED:
        for path in sources(repository, room):
            depth = len(path.relative_to(repository / FOLDERS[room]).parts)
            levels = [
                node.level
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ImportFrom)
            ]
            assert max(levels, default=0) <= depth, path


def test_the_rule_can_fail(tmp_path: Path) -> None:
    source = tmp_path / "example.py"
    source.write_text(
        "import falconet.cli.main\n"
        "from falconet import model\n"
        "def f():\n    from falconet.training.data import load\n"
        "from .serving import x\n"
    )
    assert imported_rooms(source) == {"cli", "model", "training"}
    source.write_text("from handler.decode import decode\n")
    with pytest.raises(AssertionError, match=r"import handler\.decode as falconet"):
        imported_rooms(source)


def twice_loaded() -> str:
    """Source of a program that imports every module of ours and prints files loaded twice."""
    return (
        "import importlib, pkgutil, sys\n"
        "from collections import Counter\n"
        f"for room in {sorted(ALLOWED)}:\n"
        "    package = importlib.import_module(f'falconet.{room}')\n"
        "    for found in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(found.name)\n"
        "files = Counter(m.__file__ for m in list(sys.modules.values())\n"
        "                if getattr(m, '__file__', None) and m.__name__ != '__main__')\n"
        "loaded = [m for m in sys.modules if m.startswith('falconet.')]\n"
        "assert len(loaded) > 40, loaded\n"
        "print([file for file, n in files.items() if n > 1 and 'falconet' in str(sys.modules)\n"
        "       and any(getattr(sys.modules[m], '__file__', None) == file for m in loaded)])\n"
    )


def test_no_file_is_loaded_under_two_names(repository: Path) -> None:
    """From the repository's top, where the folders could be imported by their own names too."""
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", twice_loaded()],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == "[]"


def test_nor_in_these_tests(repository: Path) -> None:
    installed = (importlib.import_module(f"falconet.{room}").__file__ for room in FOLDERS)
    tops = {repository / folder for folder in FOLDERS.values()}
    tops |= {Path(file).resolve().parent for file in installed if file}
    names: dict[Path, list[str]] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and tops & set(Path(file).resolve().parents):
            names.setdefault(Path(file).resolve(), []).append(name)
    assert names
    assert {file: found for file, found in names.items() if len(found) > 1} == {}


def test_operating_a_server_needs_no_torch() -> None:
    """Its import takes seconds of a core, which is one of those that serve."""
    modules = ("deploy", "gateway", "serve", "up")
    program = "; ".join(f"import falconet.cli.{each}" for each in modules)
    program += "; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
