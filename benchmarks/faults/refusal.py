"""What a refusal costs an nginx that does nothing else: no gateway on it can refuse for less."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from falconet.native import available_cores
from falconet.serving.gateway import find_nginx
from falconet.serving.ports import free_ports

from ..load_generator.generator import Generator
from ..load_generator.load import Target
from ..usage import usage

START_SECONDS = 10.0
CONFIGURATION = """
daemon off; worker_processes {cores}; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_header_buffer_size 8k; keepalive_requests 100000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; scgi_temp_path {folder}/scgi; uwsgi_temp_path {folder}/uwsgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ add_header Retry-After 1 always; return 429 '{{"success":false}}'; }}
  }}
}}
"""


def bare_cpu_seconds(target: Target, rate: float, connections: int, seconds: float) -> float:
    """CPU seconds of such an nginx for each of these requests, sent at a rate for some seconds."""
    with (
        TemporaryDirectory(prefix="falconet-") as folder,
        _bare_nginx(Path(folder)) as (nginx, port),
    ):
        processes = nginx.children()
        before = usage(processes).seconds
        with Generator(replace(target, port=port), rate, connections, seconds) as generator:
            answers = generator.wait().answers
        after = usage(processes).seconds
    if {answer.status for answer in answers} != {429}:
        raise RuntimeError("expected 429 only")
    return (after - before) / len(answers)


@contextmanager
def _bare_nginx(folder: Path) -> Iterator[tuple[psutil.Process, int]]:
    (port,) = free_ports(1)
    path = folder / "nginx.conf"
    path.write_text(CONFIGURATION.format(cores=available_cores(), folder=folder, port=port))
    child = subprocess.Popen([find_nginx(), "-c", path, "-e", folder / "error.log"])
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (folder / "pid").exists():
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("nginx did not start")
            time.sleep(0.1)
        yield psutil.Process(child.pid), port
    finally:
        child.terminate()
        child.wait()
