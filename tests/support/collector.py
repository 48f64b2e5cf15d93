"""A collector of OpenTelemetry: takes spans over HTTP, as workers export them, and looks how they hang together."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["Collector", "Span"]


@dataclass(frozen=True)
class Span:
    """A span as it was received."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    scope: str
    service: str
    is_error: bool
    facts: dict[str, Any] = field(hash=False)


class Collector:
    """Listens on a port of its own; a context manager.

    Attributes:
        spans: All received, in order.
    """

    def __init__(self) -> None:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector._take(body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._lock = threading.Lock()
        self.spans: list[Span] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="collector", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        found = [
            Span(
                span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                span.start_time_unix_nano, span.end_time_unix_nano, scoped.scope.name,
                next((a.value.string_value for a in r.resource.attributes if a.key == "service.name"), ""),
                span.status.code == 2, {a.key: _value(a.value) for a in span.attributes},
            )
            for r in request.resource_spans for scoped in r.scope_spans for span in scoped.spans
        ]  # fmt: skip
        with self._lock:
            self.spans += found

    def of(self, trace_id: str) -> list[Span]:
        """The spans of a trace."""
        with self._lock:
            return [span for span in self.spans if span.trace_id == trace_id]

    def orphans(self, trace_id: str, *roots: str) -> list[Span]:
        """Spans of a trace whose parent is neither there nor among some ids."""
        spans = self.of(trace_id)
        ids = {span.span_id for span in spans} | set(roots)
        return [span for span in spans if span.parent_id not in ids]


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))
