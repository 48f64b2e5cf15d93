"""Celery tasks of workers that export their spans, with Celery's own instrumentation where a variable says so."""

from __future__ import annotations

import os
import time

from celery import shared_task
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

_provider = TracerProvider(resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "worker")}))
_provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(_provider)
if os.environ.get("ORCHESTRATION_TEST_INSTRUMENTED"):
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    CeleryInstrumentor().instrument()


@shared_task(name="traced.work")
def work(value: int) -> int:
    with trace.get_tracer("shop").start_as_current_span("own work"):
        return value + 1


@shared_task(name="traced.nap")
def nap(seconds: float) -> str:
    """Take long, the first time; a span of its own is exported while it does."""
    from orchestration import activity

    with trace.get_tracer("shop").start_as_current_span("before the nap"):
        pass
    if activity.info().attempt == 1:
        time.sleep(seconds)
    return "rested"
