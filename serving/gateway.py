"""nginx in front of a TorchServe: TLS, API keys, limits; no management interface is reachable."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from falconet.native import __version__, available_cores

from . import nginx_files, nginx_folder
from .certificate import Certificate
from .clients import file_names, read_clients
from .errors import ServerError
from .limits import EXPLANATIONS, Limits
from .nginx_config import (
    TEMPLATES,
    UPSTREAMS,
    allowed_origins,
    error_bodies,
    fill_template,
    in_url,
    level_conditions,
    open_files,
    page_locations,
    tls,
    trusted_proxies,
    upstreams,
)
from .routes import Routes
from .split import Split
from .store import NAME

ACCESS_LOG = "access.log"
INTERNAL = "internal.sock"
START_SECONDS = 10.0
GRACE_SECONDS = 5.0  # more than its own worker_shutdown_timeout
LOGS = (ACCESS_LOG, "error.log")
LOG_SIZE = 256 << 20  # bytes; some hundred thousand requests
PR_SET_PDEATHSIG = 1  # of Linux


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
        certificate: Certificate | None = None,
        limits: Limits | None = None,
        trusted: Sequence[str] = (),
        origins: Sequence[str] = (),
        page: bool = True,
    ) -> "Gateway":
        """Start nginx, and return when it listens. It ends when the thread that started it does.

        Args:
            folder: for its logs; :attr:`.Server.gateway`, for deployments to find them.
            inference: TorchServe's port.
            models: whose requests are passed on, until :meth:`set_routes` changes them. The first
                is the one for ``/predict``.
            keys: a file with a line ``KEY NAME`` for each client.
            host: the address to listen on.
            port: the port to listen on.
            certificate: without it there is no TLS, which is for a machine of one's own, or behind
                somebody else's.
            limits: of requests.
            trusted: addresses, or networks like ``10.0.0.0/8``, of proxies before the gateway,
                whose ``X-Forwarded-For`` is believed to be the client's address.
            origins: of websites, like ``https://www.example.com``, whose scripts may send requests.
            page: whether there is a page at ``/`` to try the models in.

        Raises:
            ServerError: there is no nginx, it ends at once, or the keys are not as they should be.
        """
        program = find_nginx()
        limits = limits or Limits()
        clients = read_clients(keys)
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        runtime = nginx_folder.make(folder)
        try:
            values = {
                "FOLDER": str(folder),
                "ACCESS_LOG": ACCESS_LOG,
                "RUNTIME": str(runtime),
                "INTERNAL": INTERNAL,
                "LISTEN": f"{in_url(host)}:{port}{' ssl' if certificate else ''}",
                "TLS": tls(certificate, runtime),
                "KEY_FILES": file_names(),
                "ERRORS": error_bodies(limits),
                "DEFAULT": models[0],
                "NAME": NAME.pattern,
                "VERSION": __version__,
                "BODY": limits.max_body_size,
                "RATE": str(limits.rate_limit),
                "BURST": str(limits.burst),
                "ANSWER_SECONDS": str(limits.timeout),
                "EXPLANATIONS": str(EXPLANATIONS),
                "CONNECTIONS": str(limits.max_concurrency_per_address),
                "TRUSTED": trusted_proxies(trusted),
                "ORIGINS": allowed_origins(origins),
                "VARY": "Origin" if origins else "",
                "PAGE": page_locations(runtime, page),
                "FILES": str(open_files()),
                # nginx would count all that the machine has, whatever this container may use.
                "CORES": str(available_cores()),
                "LEVELS": level_conditions(runtime),
                "BUCKETS": " ".join(f"1% {each};" for each in range(1, nginx_files.BUCKETS)),
            }
            files = {UPSTREAMS: upstreams(inference, limits)}
            for name, template in TEMPLATES.items():
                files[name] = fill_template(template, values)
            for name, text in files.items():
                (runtime / name).touch(mode=0o600)
                (runtime / name).write_text(text)
            routes = Routes(models[0], {model: Split() for model in models})
            nginx_files.create(runtime, routes.splits)
            nginx_files.write_keys(runtime, clients)
            nginx_files.copy_page(runtime)
            if certificate is not None:
                certificate.install(runtime, program)
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
                if (self.runtime / nginx_folder.PID).exists():
                    socket.create_connection((host, self.port), START_SECONDS).close()
                    return
            time.sleep(0.05)

    def set_upstream_port(self, inference: int) -> bool:
        """Set the port of TorchServe to which nginx passes requests.

        If the port is a new one, nginx reloads its configuration, which closes idle connections.

        Returns:
            whether the port is a new one.
        """
        path = self.runtime / UPSTREAMS
        text = upstreams(inference, self.limits)
        if path.read_text() == text:
            return False
        path.write_text(text)
        self.child.send_signal(signal.SIGHUP)
        return True

    def set_ready(self, ready: bool) -> None:
        """Set the status of ``/ready``; nginx passes requests on in any case."""
        mark = self.runtime / "ready"
        if ready:
            mark.touch()
        else:
            mark.unlink(missing_ok=True)

    def set_routes(self, splits: Mapping[str, Split]) -> None:
        """Set the models whose requests nginx passes on, and how it splits each model's requests.

        Takes effect with the next request: nginx reads files for it, as a reload would close
        connections on which clients may be sending. All of these files get the current time, also
        if nothing has changed, so that no cleanup of old files removes them: call this regularly.
        """
        before = Routes.load(self.folder)
        routes = Routes(self.default, splits)
        if routes != before:
            nginx_files.write_routes(self.runtime, before.splits if before else {}, splits)
            routes.save(self.folder)
        nginx_files.touch_all(self.runtime, splits)

    @property
    def status_socket(self) -> Path:
        """The socket at which nginx says how many connections it has."""
        return self.runtime / INTERNAL

    def limit_concurrency(self, model: str, requests_per_second: float | None) -> None:
        """Limit a model's concurrent requests to those that it answers within the timeout.

        Args:
            model: its name.
            requests_per_second: its throughput; ``None`` if that is not known.

        Raises:
            OSError: the file of its level cannot be written.
        """
        nginx_files.write_level(self.runtime, model, self.limits.level(requests_per_second))

    def describe(self, metadata: Mapping[str, Mapping[str, Any]]) -> None:
        """Answer so what models are, by :mod:`.metadata`; ``/v2/models`` lists them."""
        nginx_files.write_metadata(self.runtime, metadata)
        nginx_files.write_index(self.runtime, self.default, metadata)

    def reload(self, keys: Path, certificate: Certificate | None) -> None:
        """Replace the API keys and the certificate, for the next request and handshake.

        Raises:
            OSError, ServerError: they cannot be read; the previous ones stay in use.
        """
        clients = read_clients(keys)
        if certificate is not None:
            certificate.install(self.runtime, find_nginx())
        nginx_files.write_keys(self.runtime, clients)

    def rotate(self, size: int = LOG_SIZE) -> None:
        """Empty the logs of this many bytes or more, and keep one copy of each.

        Without disk space for a copy there is no copy. Lines written in between are lost. nginx
        could reopen its logs instead, which loses none; but if root started it, its workers run as
        nobody and may not have access to the folder.
        """
        for log in map(self.folder.joinpath, LOGS):
            if _size(log) >= size:
                with contextlib.suppress(OSError):
                    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
                os.truncate(log, 0)

    def stop(self) -> None:
        """Accept no more connections, finish the current requests, and end nginx."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(self.limits.timeout + GRACE_SECONDS)
        # All of its processes: nginx writes over its environment, by which others are found.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        Routes.forget(self.folder)
        shutil.rmtree(self.runtime, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove what a gateway that was killed has left: it holds keys."""
    runtime = nginx_folder.find(folder)
    if runtime is not None and not nginx_folder.running(runtime):
        shutil.rmtree(runtime, ignore_errors=True)


def find_nginx() -> str:
    """The path of the program.

    Raises:
        ServerError: there is none.
    """
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise ServerError("expected nginx on PATH; on Debian: apt-get install nginx-light")
    return program


def _size(path: Path) -> int:
    """Bytes of a file; of none, while nginx has not begun it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _end_with_parent() -> None:
    """Have the kernel end this process in order when its parent is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
