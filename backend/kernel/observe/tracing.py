"""W3C trace context from request to message to worker; spans only if an OTLP endpoint is set.

Without an endpoint a trace is still propagated: an incoming `traceparent` reaches the message's header and the
worker's log lines, so that the caller's tracing system can join them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    format_span_id,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)

from backend.kernel.observe.logging import bound
from backend.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_LONGEST = 512
_PATIENCE = 3.0
"""Seconds to try to send spans to the collector, including retries."""
_KNOWN_FLAGS = 0x03
"""`sampled` and `random-trace-id`. The others have no meaning yet and must be sent as zero."""
_NOTHING: AbstractContextManager[None] = nullcontext()


class _Exporting:
    """The exporter of this process; none until `configure_tracing` finds an endpoint."""

    pid: int = 0
    provider: TracerProvider | None = None
    tracer: Tracer | None = None


def configure_tracing(settings: Settings, service: str) -> None:
    """Send spans to `settings.otlp_endpoint` (OTLP over HTTP) as `service`; without an endpoint do nothing.

    Call it in each process that makes spans, after the fork: a forked child must not share its parent's
    connection to the collector. Calling it again in the same process changes nothing.
    """
    if not settings.otlp_endpoint or _Exporting.pid == os.getpid():
        return
    # Imported here: a process without an endpoint does not pay for the SDK.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    # With the SDK's default of 10 s, every process would stop late while the collector is away.
    exporter = OTLPSpanExporter(f"{settings.otlp_endpoint.rstrip('/')}/v1/traces", timeout=_PATIENCE)
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _Exporting.provider = provider
    _Exporting.tracer = provider.get_tracer("backend")
    _Exporting.pid = os.getpid()


def exports_spans() -> bool:
    """Whether this process sends spans to a collector."""
    return _Exporting.tracer is not None


def shutdown_tracing() -> None:
    """Send what is buffered and stop exporting. For a process that exits without `atexit`."""
    if _Exporting.provider is not None and _Exporting.pid == os.getpid():
        _Exporting.provider.shutdown()
    _Exporting.provider, _Exporting.tracer, _Exporting.pid = None, None, 0


def current_traceparent() -> str | None:
    """The `traceparent` to send with what this thread sends now; None outside a trace."""
    span = get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return f"00-{format_trace_id(span.trace_id)}-{format_span_id(span.span_id)}-{span.trace_flags:02x}"


def continued(
    traceparent: str | None,
    name: str,
    kind: SpanKind = SpanKind.SERVER,
    attributes: Mapping[str, str] | None = None,
) -> AbstractContextManager[None]:
    """Do some work as part of the trace that `traceparent` names.

    A malformed or missing one starts a new trace if spans are exported, and nothing otherwise. In the
    block, log lines contain `trace_id`. A caller that also binds a request binds it before.

    Args:
        traceparent: the unchanged incoming header.
        name: the span's name, one of few: a route's rule or a message's name, never a path.
        kind: SERVER for a request, CONSUMER for a message.
        attributes: of the span, by the names of OpenTelemetry's semantic conventions.
    """
    parent = _parsed(traceparent) if traceparent else None
    if _Exporting.tracer is not None:
        # An empty context, not the current one: earlier work of this thread is not the parent.
        before = otel_context.Context()
        context = set_span_in_context(NonRecordingSpan(parent), before) if parent else before
        return _in_span(_Exporting.tracer, context, name, kind, attributes)
    return _passed_on(parent) if parent else _NOTHING


def part(name: str, kind: SpanKind, **attributes: str) -> AbstractContextManager[None]:
    """A span for a part of the current work; nothing if no spans are exported, or the work is no part of a trace.

    Args:
        name: one of few, as for `continued`.
        attributes: with `_` for the dots of OpenTelemetry's semantic conventions, and without values of users.
    """
    if _Exporting.tracer is None or not get_current_span().get_span_context().is_valid:
        return _NOTHING
    named = {key.replace("_", "."): value for key, value in attributes.items()}
    return _in_span(_Exporting.tracer, otel_context.get_current(), name, kind, named)


@contextmanager
def _passed_on(parent: SpanContext) -> Iterator[None]:
    token = otel_context.attach(set_span_in_context(NonRecordingSpan(parent)))
    try:
        with bound(trace_id=format_trace_id(parent.trace_id)):
            yield
    finally:
        otel_context.detach(token)


@contextmanager
def _in_span(
    tracer: Tracer, context: otel_context.Context, name: str, kind: SpanKind, attributes: Mapping[str, str] | None
) -> Iterator[None]:
    # Recording the exception would send its message, which may carry values, to the collector.
    with tracer.start_as_current_span(
        name, context, kind, attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            with bound(trace_id=format_trace_id(span.get_span_context().trace_id)):
                yield
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR))
            raise


def _parsed(traceparent: str) -> SpanContext | None:
    """The span that `traceparent` names, or None if W3C Trace Context says to ignore it."""
    match = _TRACEPARENT.fullmatch(traceparent.strip(" \t")) if len(traceparent) <= _LONGEST else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more):
        return None
    parent = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16) & _KNOWN_FLAGS)
    )
    return parent if parent.is_valid else None
