"""Whether a worker tells an OpenTelemetry collector about its requests."""

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .spans import Tracer

logger = logging.getLogger(__name__)

# Of OpenTelemetry's own variables, those that say where a collector is.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def tracer(model: tuple[str, str]) -> "Tracer | None":
    """What to trace requests with, or ``None`` where the environment asks for no traces.

    OpenTelemetry's packages, the extra ``tracing``, are imported here if at all. Where they are
    missing, a warning is logged: requests are answered all the same.

    Args:
        model: name and version.
    """
    asked = "otlp" if any(os.environ.get(name) for name in ENDPOINTS) else "none"
    exporter = os.environ.get("OTEL_TRACES_EXPORTER") or asked
    if exporter == "none" or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if exporter != "otlp":
        logger.warning("OTEL_TRACES_EXPORTER: expected otlp or none, got %r; no traces", exporter)
        return None
    try:
        from .spans import Tracer
    except ImportError as error:
        logger.warning("no traces, for want of: pip install 'falconet[tracing]' (%s)", error)
        return None
    return Tracer(model)
