"""OpenTelemetry traces of the service: its requests, and the wait and the stages of each job.

Off unless OpenTelemetry's own variables name a collector (OTEL_EXPORTER_OTLP_ENDPOINT or
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT); sampler, headers and resource are read from its other variables. A job's
spans belong to the trace of the request that submitted it, whose `traceparent` waits with the job. The only
module that imports OpenTelemetry; its global provider is left to others.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from lia_model.serving.jobs.job import Job, Order

if TYPE_CHECKING:
    from fastapi import FastAPI
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

_PREFIX = "OTEL_"
_COLLECTORS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SERVICE_NAME = "lia-serve"
_UNTRACED = "healthz,metrics"
"""Requests of machines, which come every few seconds."""
_NS = 1_000_000_000

logger = logging.getLogger(__name__)


def telemetry_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return OpenTelemetry's variables among those of a process, which the replicas' processes lack."""
    return {name: value for name, value in variables.items() if name.startswith(_PREFIX)}


class Tracing:
    """Makes the spans of one process of the service; without a collector it makes none.

    Args:
        variables: OpenTelemetry's; they become this process's own.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        os.environ.update(variables)
        self._provider = _provider() if _is_on(variables) else None

    def watch(self, api: FastAPI) -> None:
        """Make a span of each request that the application answers."""
        if self._provider is None:
            return
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.metrics import NoOpMeterProvider

        FastAPIInstrumentor.instrument_app(
            api,
            tracer_provider=self._provider,
            meter_provider=NoOpMeterProvider(),
            excluded_urls=os.environ.get("OTEL_PYTHON_FASTAPI_EXCLUDED_URLS", _UNTRACED),
            exclude_spans=["receive", "send"],
        )

    @contextmanager
    def job(self, job: Job) -> Iterator[None]:
        """Make a span of how long a claimed job has waited, and one of the block, which performs it."""
        tracer = self._tracer()
        if tracer is None:
            yield
            return
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract({"traceparent": job.order.trace_parent or ""})
        known = {"lia.job": job.id, "lia.attempt": job.attempts, "lia.model": job.order.model.uri}
        if job.order.correlation_id is not None:
            known["lia.correlation_id"] = job.order.correlation_id
        if job.started_s is not None:
            wait = tracer.start_span(
                "wait", parent, attributes=known, start_time=round(job.submitted_s * _NS)
            )
            wait.end(round(job.started_s * _NS))
        with tracer.start_as_current_span("job", parent, attributes=known):
            yield

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Make a span of a block, which is one stage of the present job."""
        tracer = self._tracer()
        if tracer is None:
            yield
            return
        with tracer.start_as_current_span(name):
            yield

    def note(self, event: str) -> None:
        """Note a moment in the present span."""
        if self._provider is not None:
            from opentelemetry.trace import get_current_span

            get_current_span().add_event(event)

    def fail(self, reason: str) -> None:
        """Mark the present span as failed."""
        if self._provider is not None:
            from opentelemetry.trace import Status, StatusCode, get_current_span

            get_current_span().set_status(Status(StatusCode.ERROR, reason))

    def close(self) -> None:
        """Send what waits."""
        if self._provider is not None:
            self._provider.shutdown()

    def _tracer(self) -> Tracer | None:
        return None if self._provider is None else self._provider.get_tracer("lia_model.serving")


def with_trace_parent(order: Order) -> Order:
    """Return an order that names the span of the present request, if there is one."""
    try:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError:
        return order
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return replace(order, trace_parent=carrier.get("traceparent"))


def _is_on(variables: Mapping[str, str]) -> bool:
    is_off = variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = variables.get("OTEL_TRACES_EXPORTER", "otlp")
    return not is_off and exporter != "none" and any(variables.get(name) for name in _COLLECTORS)


def _provider() -> TracerProvider | None:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation import fastapi  # noqa: F401 - `watch` needs it too
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning(
            "a collector of traces is set, but no spans are sent: install it with `pip install '.[traces]'`"
        )
        return None
    given = Resource.create()
    unnamed = str(given.attributes.get(SERVICE_NAME, "")).startswith("unknown_service")
    resource = given.merge(Resource({SERVICE_NAME: _SERVICE_NAME})) if unnamed else given
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
