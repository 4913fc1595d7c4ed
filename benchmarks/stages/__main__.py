"""Measures where a request's time goes, from socket to socket, and draws it.

    .venv/bin/python -m benchmarks.stages

The worker's stages are timed in this process, which reads batches from a socket as TorchServe's
worker does, with one thread; what Java takes is what its process takes per request under load.
Writes benchmarks/results/stages.json, docs/stages.svg and the table in docs/serving.md.
"""

import logging
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from statistics import median
from typing import Any

import ts.context
import ts.service

from falconet.handler import service, wire
from falconet.handler.classifier import Classifier
from falconet.handler.service import Service

from .. import document, plots, system, task
from ..load_generator.load import closed_loop
from ..table import table
from ..usage import usage

BATCHES = (1, 16)
ROUNDS = 200
CONNECTIONS = 32
SECONDS = 10.0
JAVA = "Java: HTTP, queue, batches"
OTHER = "the handler's own code"

# What is timed, by whose attribute it is looked up when it is called.
STAGES: dict[str, tuple[Any, str]] = {
    "reading from the socket": (wire, "read_batch"),
    "TorchServe's worker: to fields": (ts.service.Service, "retrieve_data_for_inference"),
    "headers and limits": (Classifier, "open"),
    "decoding": (Classifier, "decode"),
    "preprocessing": (Classifier, "prepare"),
    "network": (Classifier, "logits"),
    "JSON": (service, "_response"),
    "TorchServe's worker: to the socket": (ts.service, "create_predict_response"),
}


@contextmanager
def timed(seconds: dict[str, float]) -> Iterator[None]:
    """Adds up what each stage takes."""

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def inner(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                seconds[name] += time.perf_counter() - began

        return inner

    before = {name: vars(owner)[attribute] for name, (owner, attribute) in STAGES.items()}
    for name, (owner, attribute) in STAGES.items():
        found = before[name]
        static = isinstance(found, staticmethod)
        wrapped = wrap(name, getattr(owner, attribute))
        setattr(owner, attribute, staticmethod(wrapped) if static else wrapped)
    try:
        yield
    finally:
        for name, (owner, attribute) in STAGES.items():
            setattr(owner, attribute, before[name])


def worker(cifar: task.Task, size: int) -> dict[str, float]:
    """Seconds of each stage of a worker for one request, in batches of a size."""
    context_arguments = {
        "model_name": "cifar10",
        "model_dir": str(cifar.folder),
        "manifest": {"model": {"serializedFile": "model.pt", "modelVersion": "1.0"}},
        "batch_size": max(BATCHES),
        "gpu": None,
    }
    config = {"maxWorkers": 1, "falconet": {"threads": 1, "precision": cifar.precision}}
    context = ts.context.Context(**context_arguments, mms_version="", model_yaml_config=config)
    handler = Service(context)
    server = ts.service.Service(
        **{**context_arguments, "entry_point": handler.handle}, metrics_cache=_NoMetrics()
    )
    server.set_cl_socket(None)
    rounds: dict[str, list[float]] = defaultdict(list)
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    with ours, theirs:
        for i in range(ROUNDS):
            images = [cifar.images[(i * size + k) % len(cifar.images)] for k in range(size)]
            theirs.sendall(_encode(images))
            seconds: dict[str, float] = defaultdict(float)
            with timed(seconds):
                began = time.perf_counter()
                ours.sendall(server.predict(wire.read_batch(ours)))
                total = time.perf_counter() - began
            theirs.recv(1 << 22)
            seconds[OTHER] = total - sum(seconds.values())
            for name, value in seconds.items():
                rounds[name].append(value / size)
    return {name: median(values) for name, values in rounds.items()}


def java(cifar: task.Task) -> tuple[float, float]:
    """CPU seconds of Java for one request under load, and the requests it answered a second."""
    with system.falconet(cifar) as served:
        processes = [served.java()]
        before = usage(processes)
        answers = closed_loop(served.target, CONNECTIONS, SECONDS)
        return (usage(processes).seconds - before.seconds) / len(answers), len(answers) / SECONDS


def page(result: dict[str, Any]) -> str:
    batches = result["batches"]
    names = dict.fromkeys(name for each in batches.values() for name in each)
    rows = [[name, *(f"{1e6 * each[name]:.0f}" for each in batches.values())] for name in names]
    rows.append([JAVA, "", f"{1e6 * result['java']:.0f}"])
    head = ["microseconds of one core per request", *(f"batches of {size}" for size in batches)]
    return (
        f"{table(head, rows)}\n\nMedians of {ROUNDS} batches, in one thread; Java's is the CPU "
        f"time of its process over {SECONDS:.0f} s with {CONNECTIONS} connections and "
        f"{result['throughput']:.0f} requests/s. "
        f"{document.measured('stages', result['machine'])}\n"
    )


def plot(result: dict[str, Any], path: Path) -> None:
    """One bar, from socket to socket, for full batches."""
    stages = {JAVA: result["java"], **result["batches"][str(max(BATCHES))]}
    drawn = plots.figure(8, 2.8)
    axes = drawn.add_subplot()
    for place, (name, seconds) in enumerate(stages.items()):
        color = plots.OURS if name == "network" else plots.PEER
        axes.barh(place, 1e6 * seconds, 0.7, color=color)
        plots.beside(axes, (1e6 * seconds, place), f"{1e6 * seconds:.0f}")
    plots.bars(axes, list(stages))
    axes.set_xlabel("microseconds of one core for a request, in batches of 16", color=plots.TEXT)
    plots.save(drawn, path)


class _NoMetrics:
    """Where TorchServe's worker would print the time of each batch."""

    request_ids: Any = None

    def add_time(self, *_: Any) -> None:
        pass


def _encode(images: list[bytes]) -> bytes:
    """A batch as Java sends it, with the headers of the load generator."""

    def field(value: bytes) -> bytes:
        return struct.pack("!i", len(value)) + value

    end = struct.pack("!i", -1)
    headers = {
        b"Host": b"127.0.0.1",
        b"Content-Type": b"image/jpeg",
        b"Content-Length": b"1000",
        b"url_path": b"",
        b"explain": b"False",
    }
    message = b""
    for image in images:
        message += field(b"f9d5fdc0-ce54-44e8-9b7a-78687570c086")
        message += b"".join(field(name) + field(value) for name, value in headers.items()) + end
        message += field(b"body") + field(b"image/jpeg") + field(image) + end
    return message + end


def main() -> None:
    document.parser(__doc__).parse_args()
    logging.disable(logging.INFO)
    result = document.conditions()
    with task.cifar() as cifar:
        result["batches"] = {str(size): worker(cifar, size) for size in BATCHES}
        result["java"], result["throughput"] = java(cifar)
    print(page(result))
    plot(result, document.keep("stages", result) / "stages.svg")
    document.write(document.DOCS / "serving.md", "stages", page(result))


if __name__ == "__main__":
    main()
