"""Spans of a worker's requests, for an OpenTelemetry collector.

Those of a batch are made when it is answered, of times noted before: its requests wait for no more
than that, and what a request came to is known.
"""

import logging
from collections.abc import Mapping, Sequence
from time import perf_counter, time_ns

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

logger = logging.getLogger(__name__)

# https://www.w3.org/TR/trace-context/
PARENT = "traceparent"
_propagator = TraceContextTextMapPropagator()


class Tracer:
    """Sends spans by a thread of its own; what a slow collector does not take is dropped.

    It goes by OpenTelemetry's variables: where to, how often, which share.

    Args:
        model: name and version, which every span bears.
    """

    def __init__(self, model: tuple[str, str]) -> None:
        # What the environment says comes last, and wins.
        named = Resource.create({"service.name": "falconet"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=named)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("falconet.handler")
        self._model = model

    def began(self, headers: Sequence[Mapping[str, str]]) -> "Trace":
        """A batch has come, with the HTTP headers of each request."""
        return Trace(self._tracer, self._model, headers)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class Trace:
    """What a batch's spans will be made of."""

    def __init__(
        self, tracer: trace.Tracer, model: tuple[str, str], headers: Sequence[Mapping[str, str]]
    ) -> None:
        self._tracer, self._model, self._headers = tracer, model, headers
        self._began = perf_counter()
        self._epoch = time_ns() - round(self._began * 1e9)
        self._times: list[tuple[str, float, float, Sequence[int]]] = []

    def took(self, stage: str, began: float, ended: float, requests: Sequence[int]) -> None:
        """A stage of an image, or of images together; safe to call from any thread.

        Args:
            stage: ``decode``, ``preprocess``, ``inference`` or ``explain``.
            began, ended: as ``perf_counter`` has it.
            requests: for each image, the index of the request that it came with.
        """
        self._times.append((stage, began, ended, requests))

    def answered(self, statuses: Sequence[int]) -> None:
        """Make the spans: one for each request, with its HTTP status, and one for each stage."""
        ended = perf_counter()
        # A span of a stage, not of an image: a request may have 128.
        stages: list[dict[str, tuple[float, float, int]]] = [{} for _ in self._headers]
        try:
            for stage, begin, end, requests in self._times:
                for request in requests:
                    first, last, images = stages[request].get(stage, (begin, end, 0))
                    stages[request][stage] = min(first, begin), max(last, end), images + 1
            for headers, status, own in zip(self._headers, statuses, stages, strict=True):
                self._make(headers, status, ended, own)
        except Exception:  # no trace is worth a request
            logger.exception("spans were lost")

    def _make(
        self,
        headers: Mapping[str, str],
        status: int,
        ended: float,
        stages: Mapping[str, tuple[float, float, int]],
    ) -> None:
        # Names are as the client wrote them, without regard to case.
        given = {name.lower(): value for name, value in headers.items()}
        span = self._tracer.start_span(
            "predict",
            # Without a tracestate, which is for those whom we would ask in turn.
            _propagator.extract({PARENT: given.get(PARENT, "")}),
            trace.SpanKind.SERVER,
            {
                "falconet.model": self._model[0],
                "falconet.version": self._model[1],
                "falconet.batch_size": len(self._headers),
                "falconet.request_id": given.get("x-request-id", ""),
                "http.response.status_code": status,
            },
            start_time=self._at(self._began),
        )
        if status >= 500:
            span.set_status(trace.StatusCode.ERROR)
        within = trace.set_span_in_context(span)
        for stage, (first, last, images) in stages.items():
            child = self._tracer.start_span(
                stage,
                within,
                attributes={"falconet.images": images},
                start_time=self._at(first),
            )
            child.end(self._at(last))
        span.end(self._at(ended))

    def _at(self, time: float) -> int:
        """Nanoseconds since 1970, of what ``perf_counter`` said."""
        return self._epoch + round(time * 1e9)
