"""What several rooms' tests share: images, an exported model, a running server."""

import os

# The processes share the cores: one thread of OpenMP's for each, and no busy waiting.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from falconet.handler import ENTRY
from falconet.handler.interval import REPORT_SECONDS
from falconet.model.archive import Serving, archive
from falconet.model.export import export
from falconet.model.network import ConvNet
from falconet.model.spec import Spec
from falconet.model.weights import Weights
from falconet.serving.configuration import Configuration
from falconet.serving.profile import Profile
from falconet.serving.server import Server
from tests.lengths import LONG
from tests.programs import WITHOUT, how_to_install, skip_without

# Deploys, and tests of what workers count, wait for several reports.
os.environ.setdefault(REPORT_SECONDS, "0.2")
# Servers of tests end before what Java's slower compiler makes of them is used.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")

# A machine may stand still during an example, so none has a deadline.
settings.register_profile("short", max_examples=200, deadline=None)
settings.register_profile("long", max_examples=5000, deadline=None)
settings.load_profile("long" if LONG else "short")

pytest_plugins = ["tests.pets"]

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not LONG:
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    # Files that start a TorchServe go first: short ones fill the gap at the end.
    items.sort(key=lambda item: item.get_closest_marker("server") is None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        skip_without(*marker.args)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was not tested for want of a program, and how to get it."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])]
    found = [reason.partition(WITHOUT)[2].split(", ") for reason in reasons if WITHOUT in reason]
    if found:
        lacking = sorted({program for programs in found for program in programs})
        terminalreporter.write_line(
            f"NOT TESTED: {len(found)} tests, without {', '.join(lacking)}; "
            f"{how_to_install(lacking)}",
            red=True,
        )


@pytest.fixture
def with_tf32() -> Iterator[None]:
    """TF32, as an environment variable or another library may enable it."""
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = True
    yield
    for backend, value in zip(backends, before, strict=True):
        backend.allow_tf32 = value


@pytest.fixture(scope="session")
def repository() -> Path:
    return TESTS.parent


@pytest.fixture(scope="session")
def images() -> Path:
    """The folder with our own images; CIFAR-10's are in ``cifar10/`` below it."""
    return TESTS / "images"


@pytest.fixture(scope="session")
def samples(images: Path) -> list[Path]:
    """The first 16 official test images, named NUMBER-CLASS.png."""
    files = sorted((images / "cifar10").iterdir())
    assert len(files) == 16
    return files


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped weights, exported."""
    folder = tmp_path_factory.mktemp("exported")
    export(Weights.load(), folder)
    return folder


@pytest.fixture(scope="session")
def small_weights() -> Weights:
    """An untrained network of three classes, quick to export; tests share it, and change copies."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    network = ConvNet((8, 8, 8), classes=3)
    network.initialize_whitening(torch.randn(16, 3, 32, 32))
    return Weights(
        network=network.eval(),
        arguments={"widths": (8, 8, 8), "classes": 3},
        spec=Spec((32, 32), ("cat", "dog", "fish")),
        samples=[random.integers(0, 256, (40, 30, 3), np.uint8) for _ in range(4)],
        card={"made": "for a test"},
    )


@pytest.fixture(scope="session")
def server(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real TorchServe with the shipped model, and explanations, on free ports.

    Its model store also holds ``patient.mar``, the same model, whose batches wait for 16
    requests, longer than any test does.
    """
    folder = tmp_path_factory.mktemp("server")
    store = folder / "store"
    explaining = Serving(explanations=True)
    archive(exported, store / "cifar10.mar", handler=ENTRY, serving=explaining)
    configuration = Configuration.load(inference=0, management=0, metrics=0)
    configuration = configuration.fit(replace(Profile.of_machine("small"), workers=1))
    running = Server.start([store / "cifar10.mar"], folder / "state", configuration)
    try:
        patient = Serving(workers=1, batch_size=16, max_batch_delay=100_000)
        archive(exported, running.store / "patient.mar", handler=ENTRY, serving=patient)
        running.wait_ready((TESTS / "images" / "ship.jpg").read_bytes())
        yield running
    finally:
        running.stop()


class Collector:
    """In place of OpenTelemetry's: takes spans by OTLP over HTTP, and keeps them."""

    def __init__(self) -> None:
        outer = self
        self._came = threading.Condition()
        self._parts: list[ResourceSpans] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer._came:
                    outer._parts += ExportTraceServiceRequest.FromString(body).resource_spans
                    outer._came.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def services(self) -> set[str]:
        """What those who sent something call themselves."""
        return {
            attribute.value.string_value
            for part in self._parts
            for attribute in part.resource.attributes
            if attribute.key == "service.name"
        }

    def spans(self, enough: Callable[[list[Span]], bool], timeout: float = 60) -> list[Span]:
        """All that have come, when they are enough."""

        def come() -> list[Span]:
            return [s for part in self._parts for scope in part.scope_spans for s in scope.spans]

        with self._came:
            assert self._came.wait_for(lambda: enough(come()), timeout), come()
            return come()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    started = Collector()
    yield started
    started.stop()
