"""A caller's trace goes through the API into the worker, with and without a collector."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.trace import SpanKind
from structlog.contextvars import get_contextvars

from backend.kernel.observe.tracing import (
    configure_tracing,
    continued,
    current_traceparent,
    shutdown_tracing,
)
from tests.collector import Collector, collecting
from tests.settings import settings_with

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
INCOMING = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector
        shutdown_tracing()


def test_without_a_collector_an_incoming_trace_is_passed_on_unchanged() -> None:
    configure_tracing(settings_with(otlp_endpoint=""), "api")
    with continued(INCOMING, "POST /users"):
        assert current_traceparent() == INCOMING
        assert get_contextvars()["trace_id"] == TRACE_ID
    assert current_traceparent() is None
    assert "trace_id" not in get_contextvars()


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_a_collector_and_a_trace_nothing_is_passed_on(nothing: str | None) -> None:
    with continued(nothing, "POST /users"):
        assert current_traceparent() is None
        assert "trace_id" not in get_contextvars()


@pytest.mark.parametrize(
    "malformed",
    [
        "nonsense",
        INCOMING.upper(),
        INCOMING + "-more",
        INCOMING[:-1],
        "ff" + INCOMING[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID[:-1]}g-00f067aa0ba902b7-01",
        f"{INCOMING}, {INCOMING}",
        f"{INCOMING}\n",
        "cc" + INCOMING[2:] + "-" + "x" * 600,
    ],
)
def test_a_malformed_trace_is_ignored(malformed: str) -> None:
    with continued(malformed, "POST /users"):
        assert current_traceparent() is None


@pytest.mark.parametrize("later", ["cc" + INCOMING[2:], "cc" + INCOMING[2:] + "-what-comes-later", f" {INCOMING}\t"])
def test_a_trace_of_a_later_version_is_understood_as_far_as_known(later: str) -> None:
    with continued(later, "POST /users"):
        assert current_traceparent() == INCOMING


def test_the_trace_ends_also_when_the_work_fails() -> None:
    with pytest.raises(ZeroDivisionError), continued(INCOMING, "POST /users"):
        _ = 1 / 0
    assert current_traceparent() is None


def test_a_collector_sees_the_workers_span_under_the_requests_under_the_callers(collector: Collector) -> None:
    configure_tracing(settings_with(otlp_endpoint=collector.endpoint), "api")
    with continued(INCOMING, "POST /users"):
        header = current_traceparent()
    with continued(header, "users.create_user", SpanKind.CONSUMER):
        assert get_contextvars()["trace_id"] == TRACE_ID
    shutdown_tracing()

    request, message = collector.spans()
    assert {request.trace_id.hex(), message.trace_id.hex()} == {TRACE_ID}
    assert request.parent_span_id.hex() == "00f067aa0ba902b7"
    assert message.parent_span_id == request.span_id
    assert (request.name, message.name) == ("POST /users", "users.create_user")


def test_with_a_collector_a_request_without_a_trace_begins_one(collector: Collector) -> None:
    configure_tracing(settings_with(otlp_endpoint=collector.endpoint), "api")
    with continued(None, "POST /users"):
        begun = current_traceparent()
        assert begun is not None
        assert get_contextvars()["trace_id"] in begun
    shutdown_tracing()
    [span] = collector.spans()
    assert span.trace_id.hex() in begun
    assert span.parent_span_id == b""


def test_a_trace_the_caller_does_not_sample_is_passed_on_and_not_exported(collector: Collector) -> None:
    configure_tracing(settings_with(otlp_endpoint=collector.endpoint), "api")
    with continued(INCOMING[:-2] + "00", "POST /users"):
        passed_on = current_traceparent()
    shutdown_tracing()
    assert passed_on is not None
    assert TRACE_ID in passed_on
    assert passed_on.endswith("-00")
    assert collector.spans() == []


def test_a_failed_span_names_the_error_and_not_its_message(collector: Collector) -> None:
    configure_tracing(settings_with(otlp_endpoint=collector.endpoint), "api")
    with pytest.raises(ValueError, match="canary"), continued(INCOMING, "POST /users"):
        raise ValueError("canary")
    shutdown_tracing()
    [span] = collector.spans()
    assert [(one.key, one.value.string_value) for one in span.attributes] == [("error.type", "ValueError")]
    assert "canary" not in str(collector.received)


PREFORK = """
import os, sys
from tests.collector import Collector, collecting
from tests.settings import settings_with
from backend.kernel.observe.tracing import configure_tracing, continued, shutdown_tracing
settings = settings_with(otlp_endpoint=sys.argv[1])
for name in ("parent", "child"):
    if name == "child" and os.fork() != 0:
        os.wait()
        break
    configure_tracing(settings, name)
    with continued(None, name):
        pass
shutdown_tracing()
os._exit(0)
"""


def test_a_forked_worker_and_its_parent_each_export_their_own_spans(collector: Collector) -> None:
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", PREFORK, collector.endpoint]
    subprocess.run(command, check=True, timeout=60, env=environment)
    assert sorted(span.name for span in collector.spans()) == ["child", "parent"]
