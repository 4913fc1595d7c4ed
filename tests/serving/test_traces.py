"""From the gateway by a real TorchServe to a collector."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from falconet.handler import ENTRY
from falconet.model.archive import archive
from falconet.serving.configuration import Configuration
from falconet.serving.gateway import Gateway
from falconet.serving.ports import free_ports
from falconet.serving.profile import Profile
from falconet.serving.server import Server

TIMEOUT = 60
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

pytestmark = [pytest.mark.server, pytest.mark.needs("nginx")]


@pytest.fixture
def traced(exported: Path, samples: list[Path], tmp_path: Path, collector: Any) -> Iterator[Server]:
    """A server whose workers send their spans to the collector, often."""
    given = tmp_path / "given" / "cifar10.mar"
    archive(exported, given, handler=ENTRY)
    configuration = Configuration.load(inference=0, management=0, metrics=0)
    configuration = configuration.fit(replace(Profile.of_machine("small"), workers=1))
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    environment = {**configuration.environment, **variables}
    server = Server.start(
        [given],
        tmp_path / "state",
        replace(configuration, environment=environment),
    )
    try:
        server.wait_ready(samples[0].read_bytes())
        yield server
    finally:
        server.stop()


def test_a_request_can_be_followed(
    traced: Server, samples: list[Path], tmp_path: Path, collector: Any
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("key alice\n")
    (port,) = free_ports(1)
    gateway = Gateway.start(
        tmp_path / "gateway", traced.ports.inference, ["cifar10"], keys, port=port
    )
    given = {
        "none": None,
        "theirs": f"00-{TRACE}-{SPAN}-01",
        "capitals": f"00-{TRACE.upper()}-{SPAN}-01",
        "no trace": f"00-{'0' * 32}-{SPAN}-01",
        "no span": f"00-{TRACE}-{'0' * 16}-01",
        "more": f"00-{TRACE}-{SPAN}-01-and-more",
        "a newer one": f"01-{TRACE}-{SPAN}-01",
    }
    ids = {}
    try:
        for name, parent in given.items():
            headers = {"X-Api-Key": "key", **({"traceparent": parent} if parent else {})}
            url = f"http://127.0.0.1:{port}/predict"
            answer = requests.post(
                url, data=samples[4].read_bytes(), headers=headers, timeout=TIMEOUT
            )
            assert answer.status_code == 200, answer.text
            ids[name] = answer.headers["X-Request-Id"]
    finally:
        gateway.stop()

    def by_request(spans: list[Any]) -> dict[str, Any]:
        return {
            attribute.value.string_value: span
            for span in spans
            for attribute in span.attributes
            if span.name == "predict" and attribute.key == "falconet.request_id"
        }

    spans = collector.spans(lambda found: set(ids.values()) <= by_request(found).keys())
    found = {name: by_request(spans)[id] for name, id in ids.items()}
    theirs = found.pop("theirs")
    assert (theirs.trace_id.hex(), theirs.parent_span_id.hex()) == (TRACE, SPAN)
    for name, span in found.items():
        assert span.trace_id.hex() == ids[name], name
        assert span.parent_span_id.hex() == ids[name][:16], name
    lines = (gateway.folder / "access.log").read_text()
    assert f'"traceparent":"00-{TRACE}-{SPAN}-01"' in lines
    assert f'"traceparent":"00-{ids["none"]}-{ids["none"][:16]}-01"' in lines
