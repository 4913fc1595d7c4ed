"""What a gateway counts, of lines as nginx writes them; with nginx in tests/cli/test_deploy.py."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from prometheus_client import CollectorRegistry, generate_latest

from falconet.serving.errors import ServerError
from falconet.serving.gateway_metrics import GatewayMetrics, serve_metrics
from falconet.serving.limits import Limits
from falconet.serving.ports import free_ports


def line(path: str, status: int, seconds: float, upstream: str = "", client: str = "me") -> str:
    address = "torchserve_small_0" if status == 429 else "127.0.0.1:8080" if upstream else ""
    return (
        '{"time":"2026-11-27T06:00:00+00:00","id":"1f","address":"127.0.0.1",'
        f'"client":"{client}","method":"POST","path":"{path}","asked":"","status":{status},"bytes":1234,'
        f'"seconds":{seconds:.3f},"traceparent":"00-1f","upstream":"{address}",'
        f'"upstream_status":"{status}","upstream_seconds":"{upstream}"}}\n'
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_text(line("/predict", 200, 1.0))  # of another gateway, before this one
    return path


@pytest.fixture
def metrics(log: Path) -> Iterator[GatewayMetrics]:
    with serve_metrics(log.parent, 0) as found:
        yield found


@pytest.fixture
def gateway(log: Path) -> Any:
    """As much of one as is looked at; no nginx answers at its socket."""
    socket = log.with_name("internal.sock")
    return SimpleNamespace(limits=Limits(), default="cifar10", status_socket=socket)


def text(metrics: GatewayMetrics) -> list[str]:
    registry = CollectorRegistry()
    registry.register(metrics)
    return generate_latest(registry).decode().splitlines()


def test_requests_are_counted_by_model_and_status(
    log: Path, metrics: GatewayMetrics, gateway: Any
) -> None:
    lines = [
        line("/predict", 200, 0.002, "0.002"),
        line("/predict/pets", 200, 0.020, "0.019"),
        line("/v1/models/pets:predict", 429, 0.0, "0.000"),
        line("/v2/models/pets/infer", 200, 3.0, "2.9"),
        line("/predict/made-up", 404, 0.0),
        line("/elsewhere", 404, 0.0),
        line("", 400, 0.0),
        line("/predict", 401, 0.0, client=""),
        "half of a line\n",
    ]
    with log.open("a") as file:
        file.writelines(lines)
    metrics.update(gateway, True, {"cifar10": None, "pets": 1.0})
    found = text(metrics)
    name = "falconet_gateway_request_duration_seconds"
    for labels, count in (
        ('model_name="cifar10",status="200"', 1.0),
        ('model_name="pets",status="200"', 2.0),
        ('model_name="pets",status="429"', 1.0),
        ('model_name="",status="404"', 2.0),
        ('model_name="",status="400"', 1.0),
        ('model_name="",status="401"', 1.0),
    ):
        assert f"{name}_count{{{labels}}} {count}" in found
    assert sum(each.startswith(f"{name}_count") for each in found) == 6
    assert f'{name}_bucket{{le="0.025",model_name="pets",status="200"}} 1.0' in found
    assert f'{name}_bucket{{le="5.0",model_name="pets",status="200"}} 2.0' in found
    assert f'{name}_sum{{model_name="pets",status="200"}} 3.02' in found
    upstream = "falconet_gateway_upstream_duration_seconds"
    assert f'{upstream}_count{{model_name="pets"}} 2.0' in found
    assert f'{upstream}_bucket{{le="0.01",model_name="cifar10"}} 1.0' in found
    assert 'falconet_gateway_concurrent_requests_limit{model_name="pets"} 22.0' in found
    assert 'falconet_gateway_capacity_requests_per_second{model_name="pets"} 1.0' in found
    assert "falconet_gateway_ready 1.0" in found
    assert not any("connections" in each for each in found), "nginx does not answer"
    metrics.update_ready(False)
    assert "falconet_gateway_ready 0.0" in text(metrics)


def test_they_are_served_on_loopback(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/metrics"
    with serve_metrics(tmp_path, port):
        assert "falconet_gateway_ready 0.0" in requests.get(url, timeout=60).text
        taken = f"port {port} cannot be used for the gateway's metrics: Address already in use"
        with pytest.raises(ServerError, match=taken), serve_metrics(tmp_path, port):
            pass
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=60)
