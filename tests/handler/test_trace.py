"""A worker's spans, as a collector gets them, without a server."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from ts.context import Context, RequestProcessor

from falconet.handler.service import Service
from falconet.handler.trace import ENDPOINTS, tracer

MODEL = ("cifar10", "1.0")
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says nothing of OpenTelemetry at first; and what a worker sets in its process is put back."""
    for name in (*ENDPOINTS, "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def context_for(folder: Path, headers: list[dict[str, str]]) -> Context:
    manifest = {"model": {"serializedFile": "model.pt", "modelVersion": MODEL[1]}}
    options = {"maxWorkers": 1, "falconet": {"threads": 2}}
    context = Context(MODEL[0], str(folder), manifest, 5, None, "0.12.0", model_yaml_config=options)
    context.request_processor = [RequestProcessor(each) for each in headers]
    return context


def attributes(span: Any) -> dict[str, Any]:
    found = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value")
        found[each.key] = getattr(each.value, kind)
    return found


def test_each_request_of_a_batch_has_its_spans(
    exported: Path, samples: list[Path], collector: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    service = Service(context_for(exported, []))
    assert service._tracer is not None
    frog = samples[4].read_bytes()
    parts = {
        "theirs": ({"body": frog}, {"Traceparent": f"00-{TRACE}-{SPAN}-01", "X-Request-Id": "7"}),
        "none": ({"body": frog}, {}),
        "no such thing": ({"body": frog}, {"traceparent": f"00-{'0' * 32}-{SPAN}-01"}),
        "text": ({"body": b"text"}, {"traceparent": f"00-{TRACE[::-1]}-{SPAN}-01"}),
        "not sampled": ({"body": frog}, {"traceparent": f"00-{'1' * 32}-{SPAN}-00"}),
    }
    batch = [fields for fields, _ in parts.values()]
    service.handle(batch, context_for(exported, [headers for _, headers in parts.values()]))
    service._tracer.close()

    spans = collector.spans(lambda found: len(found) == 3 * 4 + 1)
    roots = [span for span in spans if span.name == "predict"]
    by_trace = {span.trace_id.hex(): span for span in roots}
    assert len(by_trace) == 4
    theirs, text = by_trace.pop(TRACE), by_trace.pop(TRACE[::-1])
    assert theirs.parent_span_id.hex() == text.parent_span_id.hex() == SPAN
    assert not any(span.parent_span_id for span in by_trace.values())
    assert attributes(theirs) == {
        "falconet.model": "cifar10",
        "falconet.version": "1.0",
        "falconet.batch_size": 5,
        "falconet.request_id": "7",
        "http.response.status_code": 200,
    }
    assert attributes(text)["http.response.status_code"] == 415
    assert collector.services == {"falconet"}
    for root in roots:
        children = [span for span in spans if span.parent_span_id == root.span_id]
        assert {span.trace_id for span in children} <= {root.trace_id}
        stages = {} if root is text else {"decode": 1, "preprocess": 1, "inference": 1}
        found = {span.name: attributes(span)["falconet.images"] for span in children}
        assert found == stages
        for span in children:
            assert root.start_time_unix_nano <= span.start_time_unix_nano
            assert span.start_time_unix_nano <= span.end_time_unix_nano <= root.end_time_unix_nano


def test_images_of_a_request_share_a_span(collector: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/v1/traces")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "images")
    made = tracer(MODEL)
    assert made is not None
    trace = made.began([{}, {}])
    trace.took("decode", 1.0, 2.0, [1])
    trace.took("decode", 1.5, 2.5, [1])
    trace.took("inference", 3.0, 4.0, [1, 1])
    trace.answered([500, 200])
    made.close()
    spans = {span.name: span for span in collector.spans(lambda found: len(found) == 4)}
    assert collector.services == {"images"}
    decode, inference = spans["decode"], spans["inference"]
    assert attributes(decode) == attributes(inference) == {"falconet.images": 2}
    assert decode.end_time_unix_nano - decode.start_time_unix_nano == 1_500_000_000
    assert inference.start_time_unix_nano - decode.end_time_unix_nano == 500_000_000
    codes = [span.status.code for span in collector.spans(bool) if span.name == "predict"]
    assert codes == [2, 0]  # error; unset


def test_a_trace_that_cannot_be_made_is_no_error(
    collector: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    made = tracer(MODEL)
    assert made is not None
    try:

        def broken(*_: object, **__: object) -> None:
            raise MemoryError

        trace = made.began([{}])
        monkeypatch.setattr(trace._tracer, "start_span", broken)
        trace.answered([200])
    finally:
        made.close()
    assert caplog.messages == ["spans were lost"]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, ""),
        ({ENDPOINTS[0]: "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, ""),
        ({ENDPOINTS[0]: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "expected otlp or none, got 'zipkin'"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "pip install 'falconet[tracing]'"),
    ],
)
def test_where_there_are_no_traces(
    variables: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "falconet.handler.spans", None)  # as without the packages
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.WARNING)
    assert tracer(MODEL) is None
    assert message in caplog.text
    assert bool(message) == bool(caplog.messages)


def test_without_traces_nothing_of_them_is_imported() -> None:
    program = (
        "import sys, falconet.handler.service\n"
        "from falconet.handler.trace import tracer\n"
        "assert tracer(('m', '1.0')) is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    output = subprocess.check_output([sys.executable, "-W", "ignore", "-c", program], text=True)
    assert output.strip() == "[]"
