"""nginx in front of a TorchServe: TLS, API keys, limits, and predictions as the only way in."""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from falconet.native import available_cores

from .configuration import CONF
from .errors import ServerError
from .routes import Routes
from .split import Split
from .store import NAME

# nginx.conf includes the other.
TEMPLATES = {"nginx.conf": "nginx.conf", "ask.conf": "nginx-ask.conf"}
BUCKETS = 100  # requests are in one each, by chance
# Folders that nginx.conf looks at: a file for each model that requests are passed on for, one for
# each with a version on trial; for those a link for each bucket, and where the links end.
MODELS, TRIALS, SHARE, TO = "models", "trials", "share", "to"
ACCESS_LOG = "access.log"
# Bytes of requests that are not small: where each size ends, in nginx.conf by the number of digits,
# and for the last one what is allowed by default.
LARGER = {"MIDDLING": 1_000_000, "LARGE": 5_000_000, "VERY_LARGE": 20_000_000}
START_SECONDS = 10.0
GRACE_SECONDS = 5.0  # more than its own worker_shutdown_timeout
LOGS = (ACCESS_LOG, "error.log")
LOG_SIZE = 256 << 20  # bytes; some hundred thousand requests
PR_SET_PDEATHSIG = 1  # of Linux


@dataclass(frozen=True)
class Limits:
    """What clients may ask of a gateway.

    Attributes:
        body: the largest request, as nginx writes sizes.
        rate: requests a second of each client, on average; above it there is a 429.
        burst: how far a client may be ahead of that.
        in_flight: how many requests of less than 100 kB TorchServe has at a time, of all clients
            and models; more get a 429. Its queue should hold them, or it answers some with a 503.
        memory: MB of requests that TorchServe has at a time. It ends when its heap, of which it
            takes four to five times as much for them, is full. Small, middling, large and very
            large requests (:data:`LARGER`) get a quarter each, so that none keeps out the others.
        answer: seconds that an answer may take.
    """

    body: str = "20m"
    rate: int = 1000
    burst: int = 1000
    in_flight: int = 200
    memory: int = 100
    answer: int = 60

    def places(self) -> dict[str, int]:
        """How many requests of each size there are at a time, by its name in nginx.conf."""
        share = self.memory * 1_000_000 // (len(LARGER) + 1)
        larger = {f"PLACES_{name}": max(2, share // size) for name, size in LARGER.items()}
        return {"IN_FLIGHT": self.in_flight, **larger}


@dataclass(frozen=True)
class Gateway:
    """A running nginx.

    Attributes:
        folder: of its logs.
        runtime: of its configuration, and of what its worker processes may write, who run as nobody
            where root started them. Gone after :meth:`stop`.
        port: where it listens.
        default: the model that ``/predict`` asks.
        limits: what clients may ask.
        child: its first process, and the leader of their group.
    """

    folder: Path
    runtime: Path
    port: int
    default: str
    limits: Limits
    child: "subprocess.Popen[bytes]" = field(compare=False, repr=False)

    @classmethod
    def start(
        cls,
        folder: Path,
        inference: int,
        models: Sequence[str],
        keys: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 8443,
        certificate: tuple[Path, Path] | None = None,
        limits: Limits | None = None,
    ) -> "Gateway":
        """Start nginx, and return when it listens. It ends when the thread that started it does.

        Args:
            folder: for its logs; :attr:`.Server.gateway`, for deployments to find them.
            inference: TorchServe's port.
            models: that requests are passed on for, until :meth:`follow` says otherwise. The first
                is the one that ``/predict`` asks.
            keys: a file with a line ``KEY NAME`` for each client that may ask.
            host: the IPv4 address to listen on.
            port: the port to listen on.
            certificate: its file and the key's; without it there is no TLS, which is for a machine
                of one's own, or behind somebody else's.
            limits: what clients may ask.

        Raises:
            ServerError: there is no nginx, it ends at once, or the keys are not as they should be.
        """
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise ServerError("expected nginx on PATH; on Debian: apt-get install nginx-light")
        limits = limits or Limits()
        clients = _clients(keys)
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        runtime = Path(tempfile.mkdtemp(prefix="falconet-gateway-"))
        try:
            runtime.chmod(0o711)
            values = {
                "FOLDER": str(folder),
                "ACCESS_LOG": ACCESS_LOG,
                "RUNTIME": str(runtime),
                "LISTEN": f"{host}:{port}{' ssl' if certificate else ''}",
                "TLS": _tls(certificate),
                "INFERENCE": str(inference),
                "DEFAULT": models[0],
                "NAME": NAME.pattern,
                "BODY": limits.body,
                "RATE": str(limits.rate),
                "BURST": str(limits.burst),
                **{name: str(places) for name, places in limits.places().items()},
                "ANSWER_SECONDS": str(limits.answer),
                # nginx would count all that the machine has, whatever this container may use.
                "CORES": str(available_cores()),
                "BUCKETS": " ".join(f"1% {each};" for each in range(1, BUCKETS)),
            }
            files = {"keys.conf": clients}
            for name, template in TEMPLATES.items():
                text = (CONF / template).read_text()
                files[name] = re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], text)
            for name, text in files.items():
                (runtime / name).touch(mode=0o600)
                (runtime / name).write_text(text)
            for name in (MODELS, TRIALS, SHARE, TO):
                _folder(runtime / name)
            routes = Routes(models[0], {model: Split() for model in models})
            _apply(runtime, {}, routes.splits)
            console = folder / "console.log"
            with console.open("wb") as output:
                child = subprocess.Popen(
                    [program, "-c", str(runtime / "nginx.conf"), "-e", str(console)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=_end_with_parent,
                )
        except BaseException:
            shutil.rmtree(runtime, ignore_errors=True)
            raise
        gateway = cls(folder, runtime, port, models[0], limits, child)
        try:
            gateway._wait(host)
            routes.save(folder)
        except BaseException:
            gateway.stop()
            raise
        return gateway

    def _wait(self, host: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.child.poll() is not None or time.monotonic() > deadline:
                logs = [self.folder / name for name in ("console.log", "error.log")]
                said = "\n".join(log.read_text() for log in logs if log.exists()).strip()
                raise ServerError(f"nginx did not start:\n{said}")
            with contextlib.suppress(OSError):
                # Only where nginx has written its process's id has it bound the port.
                if (self.runtime / "nginx.pid").exists():
                    socket.create_connection((host, self.port), START_SECONDS).close()
                    return
            time.sleep(0.05)

    def admit(self, more: bool) -> None:
        """Say at ``/ready`` whether more should come; what comes is passed on in any case."""
        mark = self.runtime / "ready"
        if more:
            mark.touch()
        else:
            mark.unlink(missing_ok=True)

    def follow(self, splits: Mapping[str, Split]) -> None:
        """Pass on requests for these models, and split each one's so, from the next on.

        nginx looks at files for that. To read its configuration anew it would close connections
        on which clients may just be sending something. All of these files get the current time,
        also where nothing has changed: call this again and again.
        """
        before = Routes.load(self.folder)
        routes = Routes(self.default, splits)
        if routes != before:
            _apply(self.runtime, before.splits if before else {}, splits)
            routes.save(self.folder)
        _refresh(self.runtime, splits)

    def rotate(self, size: int = LOG_SIZE) -> None:
        """Empty the logs that have this many bytes or more, and keep one copy of each.

        What comes in the meantime is lost. Having nginx open others would not be: but its worker
        processes, who are nobody where root started them, may not be let into the folder.
        """
        for log in map(self.folder.joinpath, LOGS):
            if _size(log) >= size:
                shutil.copyfile(log, log.with_name(f"{log.name}.1"))
                os.truncate(log, 0)

    def stop(self) -> None:
        """Take nothing more, answer what has come, for as long as that may take, and end."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(self.limits.answer + GRACE_SECONDS)
        # All of its processes: nginx writes over its environment, by which others are found.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        Routes.forget(self.folder)
        shutil.rmtree(self.runtime, ignore_errors=True)


def _apply(runtime: Path, before: Mapping[str, Split], splits: Mapping[str, Split]) -> None:
    """Have nginx find what is to be passed on instead of what was."""
    for model in before.keys() - splits.keys():
        (runtime / MODELS / model).unlink(missing_ok=True)
        (runtime / TRIALS / model).unlink(missing_ok=True)
    for model, split in splits.items():
        if split != before.get(model, Split()):
            _share(runtime, model, split)
        (runtime / MODELS / model).touch()


def _refresh(runtime: Path, splits: Mapping[str, Split]) -> None:
    """Give all of nginx's files the current time, and write again the marks that are missing.

    systemd-tmpfiles removes what is older than 10 days from /tmp, empty folders included.
    """
    for model, split in splits.items():
        (runtime / MODELS / model).touch()
        if split.percent:
            (runtime / TRIALS / model).touch()
    for folder, folders, files in os.walk(runtime):
        for name in (".", *folders, *files):
            with contextlib.suppress(OSError):  # a request's body that nginx has just removed
                os.utime(Path(folder, name), follow_symlinks=False)


def _share(runtime: Path, model: str, split: Split) -> None:
    """Have the bucket of each request lead to the folder that is called as its version is."""
    mark = runtime / TRIALS / model
    if not split.percent:
        # The links stay, for a request that has just seen the mark.
        mark.unlink(missing_ok=True)
        return
    (runtime / TO / split.version).mkdir(exist_ok=True)
    links = runtime / SHARE / model
    _folder(links)
    for bucket in range(BUCKETS):
        end = split.version if bucket < split.percent else ""
        partial = links / "partial"
        partial.symlink_to(Path("..", "..", TO, end))
        partial.replace(links / str(bucket))
    mark.touch()


def _folder(path: Path) -> None:
    """One that nginx's worker processes can look into."""
    path.mkdir(exist_ok=True)
    path.chmod(0o711)


def _size(path: Path) -> int:
    """Bytes of a file; of none, while nginx has not begun it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _end_with_parent() -> None:
    """Have the kernel end this process in order when its parent is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def _clients(keys: Path) -> str:
    """Lines of nginx's map, of a file of keys."""
    lines = []
    for number, line in enumerate(keys.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 2 or not all(re.fullmatch(r"[A-Za-z0-9_.~+/=-]+", each) for each in words):
            raise ServerError(
                f"{keys}:{number}: expected a key and a name, of letters, digits and ._~+/=-"
            )
        lines.append(f'"~^{re.escape(words[0])}$" "{words[1]}";\n')
    if not lines:
        raise ServerError(f"{keys}: expected a line KEY NAME for each client; there is none")
    return "".join(lines)


def _tls(certificate: tuple[Path, Path] | None) -> str:
    if certificate is None:
        return ""
    chain, key = (path.resolve() for path in certificate)
    return (
        f'ssl_certificate "{chain}"; ssl_certificate_key "{key}"; '
        "ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:1m;"
    )
