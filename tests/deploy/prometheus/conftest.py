"""What is deployed beside the server, and a real Prometheus that watches it."""

import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from falconet.serving.configuration import METRICS
from falconet.serving.ports import HOST, free_ports
from falconet.serving.server import Server
from tests.programs import skip_without
from tests.supervised import supervised

TIMEOUT = 60
# tests/serving/test_gateway_metrics.py and tests/cli/test_deploy.py look at what is exported.
GATEWAY = {
    f"falconet_gateway_{name}"
    for name in (
        *("request_duration_seconds_bucket", "request_duration_seconds_count"),
        *("upstream_duration_seconds_bucket", "ready", "connections"),
        *("concurrent_requests_limit", "capacity_requests_per_second"),
    )
}


@pytest.fixture(scope="session")
def rules_folder(repository: Path) -> Path:
    return repository / "deploy" / "prometheus"


@pytest.fixture(scope="session")
def rules(rules_folder: Path) -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((rules_folder / "rules.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


@pytest.fixture(scope="session")
def declared() -> set[str]:
    """Names of all that TorchServe and a gateway export."""
    sections = yaml.safe_load(METRICS.read_text())
    return {
        metric["name"]
        for section in ("ts_metrics", "model_metrics")
        for metrics in sections[section].values()
        for metric in metrics
    } | GATEWAY


@dataclass(frozen=True)
class Prometheus:
    """A running one."""

    port: int

    def ask(self, path: str, **parameters: str) -> Any:
        url = f"http://{HOST}:{self.port}/{path}"
        return requests.get(url, params=parameters, timeout=TIMEOUT)

    def query(self, expression: str) -> list[float]:
        """What an expression is now, for each of its series."""
        answer = self.ask("api/v1/query", query=expression).json()
        assert answer["status"] == "success", (expression, answer)
        return [float(each["value"][1]) for each in answer["data"]["result"]]

    def wait_for(self, expressions: Iterable[str]) -> dict[str, list[float]]:
        """The values of each expression, when all of them have some."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            found = {each: self.query(each) for each in expressions}
            empty = [expression for expression, values in found.items() if not values]
            if not empty:
                return found
            assert time.monotonic() < deadline, f"no data: {empty}"
            time.sleep(0.5)


@pytest.fixture(scope="module")
def prometheus(
    server: Server,
    rules_folder: Path,
    samples: list[Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    """Ours, but that it looks every second, at a server that is asked all the time."""
    skip_without("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copy(rules_folder / "rules.yml", folder)
    config = yaml.safe_load((rules_folder / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    port, gateway_port = free_ports(2)
    for job, scraped in zip(
        config["scrape_configs"], (server.ports.metrics, gateway_port), strict=True
    ):
        job["static_configs"] = [{"targets": [f"{HOST}:{scraped}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    done = threading.Event()
    images = [path.read_bytes() for path in samples]
    (folder / "keys").write_text("abc me\n")

    def ask_on() -> None:
        while not done.wait(0.1):
            for image in images:
                requests.post(url, image, headers={"X-Api-Key": "abc"}, timeout=TIMEOUT)

    with (
        supervised(server, folder / "keys", images[0], gateway_port) as gateway,
        (folder / "log").open("wb") as log,
    ):
        url = f"http://{HOST}:{gateway.port}/predict"
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={HOST}:{port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        asking = threading.Thread(target=ask_on)
        asking.start()
        try:
            running = Prometheus(port)
            deadline = time.monotonic() + TIMEOUT
            while True:
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    if running.ask("-/ready").ok:
                        break
                except requests.ConnectionError:
                    pass
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.2)
            yield running
        finally:
            done.set()
            asking.join()
            process.terminate()
            process.wait(TIMEOUT)
