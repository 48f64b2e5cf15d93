"""Spans by OpenTelemetry: with ids that the engine derives, made where something has ended.

A run lives for months on many workers, so no span of it can be held open in one of them. Each span is made once, by
the process that wrote its end to the store, with its true start; its id is derived from the run, so its children name
it long before it is made.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from orchestration.errors import ConfigError
from orchestration.telemetry.run_trace import RunTrace, derived_trace_id

__all__ = ["Tracing"]

logger = logging.getLogger(__name__)

_SCOPE: Final = "orchestration"
_MS: Final = 1_000_000
_wanted = threading.local()


class _Ids:
    """Gives out the ids that this thread wants for its next span, else those of the generator that was there.

    Args:
        generator: The one that the application's provider was made with.
    """

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def generate_span_id(self) -> int:
        return getattr(_wanted, "span_id", 0) or int(self._generator.generate_span_id())

    def generate_trace_id(self) -> int:
        return getattr(_wanted, "trace_id", 0) or int(self._generator.generate_trace_id())

    def is_trace_id_random(self) -> bool:
        return False


class Tracing:
    """Makes spans with the tracer provider of the application, once it has one.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """

    def __init__(self) -> None:
        try:
            from opentelemetry import context, propagate, trace
        except ModuleNotFoundError as error:
            raise ConfigError(
                "orchestration_tracing is on and OpenTelemetry is not installed: install celery-orchestration[otel]"
            ) from error
        self._context: Any = context
        self._propagate: Any = propagate
        self._trace: Any = trace
        self._provider: Any = None
        self._tracer: Any = None
        self._kinds = {
            "internal": trace.SpanKind.INTERNAL, "producer": trace.SpanKind.PRODUCER,
            "consumer": trace.SpanKind.CONSUMER,
        }  # fmt: skip

    @property
    def tracer(self) -> Any:
        """The tracer whose ids can be chosen; None while the application has no provider of the SDK."""
        provider = self._trace.get_tracer_provider()
        if provider is not self._provider:
            tracer = provider.get_tracer(_SCOPE)
            generator = getattr(tracer, "id_generator", None)
            if generator is not None and not isinstance(generator, _Ids):
                tracer.id_generator = _Ids(generator)
            self._provider, self._tracer = provider, tracer if generator is not None else None
        return self._tracer

    # Where a run stands -----------------------------------------------------------------------------------------

    def caller(self, headers: Mapping[str, Any]) -> str:
        """The span that this thread is in, else the one that headers name, as a ``traceparent``; empty: neither."""
        return self._named(self._trace.get_current_span()) or self.received(headers)

    def received(self, headers: Mapping[str, Any]) -> str:
        """The span that the headers of a message name, as a ``traceparent``; empty: none."""
        carrier = {name: value for name, value in headers.items() if isinstance(value, str)}
        return self._named(self._trace.get_current_span(self._propagate.extract(carrier, self._context.Context())))

    @staticmethod
    def _named(span: Any) -> str:
        found = span.get_span_context()
        if not found.is_valid:
            return ""
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags & 1:02x}"

    def of_run(self, run_id: str, text: str) -> RunTrace:
        """The trace of a run.

        Args:
            run_id: The run.
            text: What its record or its starter says; empty: a trace of its own, sampled if the sampler says so.
        """
        found = RunTrace.read(run_id, text)
        if found is not None:
            return found
        trace_id = derived_trace_id(run_id)
        return RunTrace(run_id, trace_id, 0, self._is_sampled(trace_id))

    def _is_sampled(self, trace_id: int) -> bool:
        sampler = getattr(self.tracer, "sampler", None)
        if sampler is None:
            return True
        decision = sampler.should_sample(self._context.Context(), trace_id, "workflow").decision
        return bool(decision.is_sampled())

    # Spans ------------------------------------------------------------------------------------------------------

    def emit(
        self, run: RunTrace, name: str, *, span_id: int, parent_id: int, start_ms: float, end_ms: float,
        kind: str = "internal", attributes: Mapping[str, Any] | None = None, error: str = "",
    ) -> None:  # fmt: skip
        """Make a span of something that has ended.

        Args:
            run: Whose trace it belongs to.
            name: Of the span.
            span_id: Its id.
            parent_id: Id of the span above; 0: none.
            start_ms: Milliseconds since the epoch.
            end_ms: The same.
            kind: ``internal``, ``producer`` or ``consumer``.
            attributes: Facts.
            error: Kind of the failure it ended with; empty: none.
        """
        span = self._start(
            run, name, span_id=span_id, parent_id=parent_id, start_ms=start_ms, kind=kind, attributes=attributes
        )
        if span is not None:
            self._end(span, max(end_ms, start_ms), error)

    @contextmanager
    def inside(self, run: RunTrace, span_id: int) -> Iterator[None]:
        """Have what is done here stand below a span that is made later."""
        token = self._context.attach(self._below(run, span_id))
        try:
            yield
        finally:
            self._context.detach(token)

    def headers(self, run: RunTrace, span_id: int) -> dict[str, str]:
        """What a message carries that stands below a span, in the way that the application propagates traces."""
        carrier: dict[str, str] = {}
        self._propagate.inject(carrier, context=self._below(run, span_id, self._context.Context()))
        return carrier

    def begin(
        self, run: RunTrace, name: str, *, span_id: int, parent_id: int, start_ms: float,
        attributes: Mapping[str, Any],
    ) -> tuple[Any, Any]:  # fmt: skip
        """Begin a span that is this thread's until :meth:`finish` is given what this returns."""
        span = self._start(
            run, name, span_id=span_id, parent_id=parent_id, start_ms=start_ms, kind="consumer", attributes=attributes
        )
        if span is None:
            return None, self._context.attach(self._below(run, parent_id))
        return span, self._context.attach(self._trace.set_span_in_context(span))

    def finish(self, begun: tuple[Any, Any], end_ms: float, *, error: str, attributes: Mapping[str, Any]) -> None:
        """End a span that :meth:`begin` has begun."""
        span, token = begun
        self._context.detach(token)
        if span is not None:
            span.set_attributes(dict(attributes))
            self._end(span, end_ms, error)

    def current_ids(self) -> tuple[str, str] | None:
        """Trace id and span id of this thread, as logs write them; None outside of spans."""
        found = self._trace.get_current_span().get_span_context()
        return (f"{found.trace_id:032x}", f"{found.span_id:016x}") if found.is_valid else None

    def _below(self, run: RunTrace, span_id: int, context: Any = None) -> Any:
        flags = self._trace.TraceFlags(int(run.sampled))
        found = self._trace.SpanContext(run.trace_id, span_id, is_remote=True, trace_flags=flags)
        return self._trace.set_span_in_context(self._trace.NonRecordingSpan(found), context)

    def _start(
        self, run: RunTrace, name: str, *, span_id: int, parent_id: int, start_ms: float, kind: str,
        attributes: Mapping[str, Any] | None,
    ) -> Any:  # fmt: skip
        tracer = self.tracer
        if tracer is None or not run.sampled:
            return None
        nothing = self._context.Context()
        context = self._below(run, parent_id, nothing) if parent_id else nothing
        _wanted.trace_id, _wanted.span_id = run.trace_id, span_id
        try:
            return tracer.start_span(
                name, context=context, kind=self._kinds[kind], attributes=dict(attributes or {}),
                start_time=int(start_ms * _MS),
            )  # fmt: skip
        finally:
            _wanted.trace_id = _wanted.span_id = 0

    def _end(self, span: Any, end_ms: float, error: str) -> None:
        if error:
            span.set_attribute("error.type", error)
            span.set_status(self._trace.StatusCode.ERROR, error)
        span.end(end_time=int(end_ms * _MS))


