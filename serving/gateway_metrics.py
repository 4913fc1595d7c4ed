"""What a gateway counts, for Prometheus: TorchServe's own metrics lack what never reaches it."""

import http.client
import re
import socket
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .errors import ServerError
from .gateway import ACCESS_LOG, Gateway
from .log_reader import LogReader
from .ports import HOST

# Seconds; nginx counts milliseconds.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BOUND_LABELS = (*map(str, BOUNDS), "+Inf")
# A line of the access log, as nginx.conf writes it.
_LINE = re.compile(
    r'"client":"(?P<client>[^"]*)","method":"[^"]*",'
    r'"path":"(?P<path>(?:/(?:predict|predictions|explanations|v[12]/models)/(?P<model>[^/:"]+))?'
    r'[^"]*)",'
    r'"asked":"[^"]*","status":(?P<status>\d+),"bytes":\d+,"seconds":(?P<seconds>[\d.]+),'
    # An upstream without an address is one that had no place for the request.
    r'"traceparent":"[^"]*","upstream":"(?P<address>[\d.:]*)[^"]*","upstream_status":"[^"]*",'
    r'"upstream_seconds":"(?P<upstream>[^"]*)"'
)
_CONNECTIONS = re.compile(r"Reading: (\d+) Writing: (\d+) Waiting: (\d+)")
STATUS_SECONDS = 2.0


@dataclass
class Histogram:
    """Durations, by :data:`BOUNDS`."""

    counts: list[int] = field(default_factory=lambda: [0] * len(_BOUND_LABELS))
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Each bound, and how many durations are not above it."""
        total, found = 0, []
        for bound, count in zip(_BOUND_LABELS, self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class GatewayMetrics(Collector):
    """Counts the lines of an access log; asks nginx for its connections when it is read.

    Args:
        log: reads the access log.
    """

    def __init__(self, log: LogReader) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._gateway: Gateway | None = None
        self._requests: dict[tuple[str, str], Histogram] = defaultdict(Histogram)
        self._upstream: dict[str, Histogram] = defaultdict(Histogram)
        self._ready = False
        self._capacity: dict[str, float] = {}
        self._limits: dict[str, int] = {}

    def update(self, gateway: Gateway, ready: bool, capacity: Mapping[str, float | None]) -> None:
        """Count what has been logged since the last time, and keep what is true now.

        Args:
            gateway: that writes the log.
            ready: what ``/ready`` says.
            capacity: requests per second that each model can answer; ``None`` while that is not
                known.
        """
        lines = self._log.lines()
        with self._lock:
            self._gateway, self._ready = gateway, ready
            self._limits = {
                name: gateway.limits.concurrency_limit(each) for name, each in capacity.items()
            }
            self._capacity = {name: each for name, each in capacity.items() if each is not None}
            for line in lines:
                self._count(line, gateway.default)

    def update_ready(self, ready: bool) -> None:
        """Keep what ``/ready`` says where nothing else is known anew."""
        self._ready = ready

    def _count(self, line: str, default: str) -> None:
        found = _LINE.search(line)
        if found is None:
            return
        model = found["model"] or (default if found["path"] == "/predict" else "")
        # Anyone can make up names, and each would be a series of its own.
        model = model if found["client"] and model in self._limits else ""
        self._requests[model, found["status"]].add(float(found["seconds"]))
        if found["address"]:
            with suppress(ValueError):
                self._upstream[model].add(float(found["upstream"]))

    def collect(self) -> Iterable[Metric]:
        requests = HistogramMetricFamily(
            "falconet_gateway_request_duration_seconds",
            "From the first byte of a request to the last byte of its response.",
            labels=["model_name", "status"],
        )
        upstream = HistogramMetricFamily(
            "falconet_gateway_upstream_duration_seconds",
            "The share of TorchServe: its queue, and the worker.",
            labels=["model_name"],
        )
        ready = GaugeMetricFamily("falconet_gateway_ready", "1 if /ready responds with status 200.")
        limits = GaugeMetricFamily(
            "falconet_gateway_concurrent_requests_limit",
            "Limit of concurrent requests below 100 kB; models with the same limit share it.",
            labels=["model_name"],
        )
        capacity = GaugeMetricFamily(
            "falconet_gateway_capacity_requests_per_second",
            "Estimated requests per second that the workers of a model can answer.",
            labels=["model_name"],
        )
        with self._lock:
            for key, each in self._requests.items():
                requests.add_metric(list(key), each.cumulative(), each.seconds)
            for model, each in self._upstream.items():
                upstream.add_metric([model], each.cumulative(), each.seconds)
            ready.add_metric([], float(self._ready))
            for model, limit in self._limits.items():
                limits.add_metric([model], limit)
            for model, rate in self._capacity.items():
                capacity.add_metric([model], rate)
        return [requests, upstream, ready, limits, capacity, *self._connections()]

    def _connections(self) -> Iterator[Metric]:
        """By what nginx does on them; none where it does not answer. This asks on one of them."""
        if self._gateway is None:
            return
        try:
            text = _read_status(self._gateway.status_socket)
        except (OSError, http.client.HTTPException):
            return
        found = _CONNECTIONS.search(text)
        if found is not None:
            connections = GaugeMetricFamily(
                "falconet_gateway_connections",
                "Connections that nginx has accepted.",
                labels=["state"],
            )
            for state, count in zip(("reading", "writing", "waiting"), found.groups(), strict=True):
                connections.add_metric([state], float(count))
            yield connections


@contextmanager
def serve_metrics(folder: Path, port: int) -> Iterator[GatewayMetrics]:
    """Answer ``GET /metrics`` on loopback, unless the port is 0.

    Args:
        folder: of the gateway, which may start later.
        port: to listen on.

    Raises:
        ServerError: the port is taken.
    """
    with LogReader(folder / ACCESS_LOG) as log:
        metrics = GatewayMetrics(log)
        if not port:
            yield metrics
        else:
            with _listening(metrics, port):
                yield metrics


@contextmanager
def _listening(metrics: GatewayMetrics, port: int) -> Iterator[None]:
    registry = CollectorRegistry()
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, HOST, registry)
    except OSError as error:
        raise ServerError(
            f"port {port} cannot be used for the gateway's metrics: {error.strerror}; choose "
            "another one with --gateway-metrics-port, or 0 for none"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _read_status(path: Path) -> str:
    connection = http.client.HTTPConnection("localhost", timeout=STATUS_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.settimeout(STATUS_SECONDS)
        connection.sock.connect(str(path))
        connection.request("GET", "/status")
        return connection.getresponse().read().decode()
    finally:
        connection.close()
