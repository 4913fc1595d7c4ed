"""What the files in deploy/ say, and a place like the one that a container runs in."""

import importlib.util
import json
import os
import re
import shlex
import string
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.programs import skip_without

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11, where pytest depends on the same code
    import tomli as tomllib

# What the base image has; $PATH of the Dockerfile.
SYSTEM_PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAMS = ("nginx", "tini", "unshare", "nsenter", "setpriv", "ip")


@pytest.fixture(scope="session")
def project(repository: Path) -> dict[str, Any]:
    """What pyproject.toml says of the package."""
    content: dict[str, Any] = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    return content


@dataclass(frozen=True)
class Image:
    """The last stage of a Dockerfile.

    Attributes:
        instructions: all of it, in order: the word, and what comes after it.
        environment: that its processes get.
    """

    instructions: tuple[tuple[str, str], ...]
    environment: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> "Image":
        text = re.sub(r"(?m)^#.*\n", "", path.read_text())
        text = text.replace("\\\n", " ")
        lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
        instructions = [(word, rest.strip()) for word, rest in lines]
        last = max(i for i, (word, _) in enumerate(instructions) if word == "FROM")
        environment = {"PATH": SYSTEM_PATH}
        for word, rest in instructions[last:]:
            if word == "ENV":
                pairs = [each.partition("=") for each in shlex.split(rest)]
                environment |= {
                    name: string.Template(value).substitute(environment) for name, _, value in pairs
                }
        return cls(tuple(instructions[last:]), environment)

    def all(self, word: str) -> list[str]:
        return [rest for each, rest in self.instructions if each == word]

    def one(self, word: str) -> str:
        (found,) = self.all(word)
        return found

    def command(self, word: str) -> list[str]:
        """Of an instruction in the form of a JSON list, which is run without a shell."""
        found = json.loads(self.one(word))
        assert isinstance(found, list)
        return found


@pytest.fixture(scope="session")
def image(repository: Path) -> Image:
    return Image.read(repository / "deploy" / "container" / "Dockerfile")


@pytest.fixture(scope="session")
def kubernetes(repository: Path) -> Path:
    """The folder with the manifests."""
    return repository / "deploy" / "kubernetes"


@pytest.fixture(scope="session")
def resources(kubernetes: Path) -> dict[str, dict[str, Any]]:
    """What is in each file of them, but for kustomize's own."""
    return {
        str(path.relative_to(kubernetes)): yaml.safe_load(path.read_text())
        for path in sorted(kubernetes.rglob("*.yaml"))
        if path.name != "kustomization.yaml"
    }


@dataclass(frozen=True)
class Container:
    """A running command, in namespaces of its own.

    Attributes:
        unshare: the process that made them, and that the others end with.
        first: what is process 1 inside.
        output: of all of it.
    """

    unshare: psutil.Popen
    first: psutil.Process
    output: Path

    def inside(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run some Python in its network."""
        enter = ["nsenter", "--target", str(self.unshare.pid), "--net", sys.executable, "-c"]
        return subprocess.run(
            [*enter, program, *arguments], capture_output=True, text=True, check=False
        )


def _why_not() -> str | None:
    """Why there can be no container on this machine, that has all programs for it."""
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True, check=False
    )
    return None if tried.returncode == 0 else "this user may not make namespaces"


def _code() -> list[Path]:
    """Where Python, its packages and ours lie."""
    found = {Path(sys.base_prefix), Path(sys.prefix)}
    for room in ("native", "model", "handler", "serving", "cli"):
        spec = importlib.util.find_spec(f"falconet.{room}")
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent
        found |= {folder, folder.resolve()}
    found |= {Path(each) for each in os.environ.get("PYTHONPATH", "").split(":") if each}
    found |= {Path(__file__).parents[2]}
    # Those above others first.
    return sorted(found)


def _script(root: Path, user: str, mounts: dict[str, Path], command: Sequence[str]) -> str:
    """What makes a root directory like the image's, read-only, and runs a command there."""
    at = f"{shlex.quote(str(root))}"
    lines = ["set -e", "mount --make-rprivate /", "ip link set lo up", f"mount -t tmpfs none {at}"]

    def bind(source: Path, target: str) -> None:
        inside = f"{at}{shlex.quote(target)}"
        make = "mkdir -p" if source.is_dir() else f"mkdir -p $(dirname {inside}) && touch"
        lines.append(f"{make} {inside}")
        lines.append(f"mount --bind {shlex.quote(str(source))} {inside}")

    for name in ("/usr", "/bin", "/sbin", "/lib", "/lib64"):
        if Path(name).is_symlink():
            lines.append(f"ln -s {Path(name).readlink()} {at}{name}")
        elif Path(name).exists():
            bind(Path(name), name)
    for name in ("/etc/ld.so.cache", "/etc/localtime", "/etc/nginx"):
        if Path(name).exists():
            bind(Path(name).resolve(), name)
    lines += [
        f"mkdir -p {at}/tmp {at}/dev/shm {at}/proc {at}/opt {at}/var/lib/falconet",
        f"mount -t tmpfs none {at}/tmp && chmod 1777 {at}/tmp",
    ]
    for each in _code():
        bind(each, str(each))
    lines.append(f"ln -s {shlex.quote(sys.prefix)} {at}/opt/falconet")
    for name in ("null", "zero", "full", "random", "urandom"):
        bind(Path("/dev", name), f"/dev/{name}")
    for target, source in mounts.items():
        bind(source, target)
    lines += [
        f"mount -t tmpfs -o mode=700 none {at}/var/lib/falconet",
        f"chown {user} {at}/var/lib/falconet",
        f"mount -t proc proc {at}/proc",
        f"mount -o remount,ro {at}",
    ]
    uid, gid = user.split(":")
    dropped = "--clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all"
    lines.append(
        f"exec chroot {at} setpriv --reuid {uid} --regid {gid} {dropped} {shlex.join(command)}"
    )
    return "\n".join(lines)


Run = Callable[[Image, dict[str, Path], Sequence[str]], Any]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs a command as the image's user, with its environment, in a file system like its own.

    That is read-only but for /tmp and the state folder; there is no network but loopback, and no
    capability. It has this machine's programs and Python, so that what the image lacks of them
    does not show.
    """
    skip_without(*PROGRAMS)
    reason = _why_not()
    if reason is not None:
        pytest.skip(reason)

    @contextmanager
    def run_one(
        image: Image, mounts: dict[str, Path], command: Sequence[str]
    ) -> Iterator[Container]:
        root, output = tmp_path / "root", tmp_path / "output"
        root.mkdir()
        environment = dict(image.environment)
        if "PYTHONPATH" in os.environ:  # a checkout that is not the one installed
            environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        script = _script(root, image.one("USER"), mounts, command)
        namespaces = ("--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child")
        with output.open("wb") as file:
            unshare = psutil.Popen(
                ["unshare", *namespaces, "sh", "-c", script],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        try:
            (first,) = _wait_for_child(unshare)
            yield Container(unshare, first, output)
        finally:
            if unshare.poll() is None:
                unshare.kill()
                unshare.wait()

    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(run_one(*arguments))


def _wait_for_child(process: psutil.Popen) -> list[psutil.Process]:
    while process.poll() is None:
        children = process.children()
        if children:
            return children
    raise AssertionError("unshare has ended")
