"""One trace from a request to the mail that it caused, as a collector receives it from the program's processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.broker import RabbitMQ
from tests.collector import collecting
from tests.flow.programs import ApiProcess
from tests.smtp import HangingServer
from tests.worker import WorkerProcess, environment, eventually

TRACE_ID, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_trace_leads_from_the_request_to_the_mail(private_rabbitmq: RabbitMQ, clean_database: str) -> None:
    """The last spans are sent when a process ends."""
    with private_rabbitmq.vhost() as broker_url, collecting() as collector, HangingServer() as mail_server:
        settings = environment(
            BROKER_URL=broker_url,
            DATABASE_URL=clean_database,
            MAIL_URL=f"smtp://127.0.0.1:{mail_server.port}?tls=none",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        )
        with ApiProcess(settings) as api, WorkerProcess(settings, "--pool", "prefork", "--concurrency", "1") as worker:
            body = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}
            accepted = api.client.post("/api/v1/users", body, traceparent=f"00-{TRACE_ID}-{CALLER}-01")
            assert api.client.outcome(accepted)["status"] == "succeeded"
            eventually(lambda: mail_server.texts)
            worker.terminate()
            api.terminate()
        spans = [span for span in collector.spans() if span.trace_id.hex() == TRACE_ID]

    request = "/api/v1/users"
    hashing = f"{request} > process users.create_user"
    mail = f"{hashing} > process notifications.mail_verification_link"
    assert set(_paths(spans, CALLER)) == {
        request,
        f"{request} > send users.create_user",
        hashing,
        f"{hashing} > transaction",
        f"{hashing} > transaction > send messages",  # the relay
        mail,
        f"{mail} > transaction",
        f"{mail} > send mail",
        f"{mail} > send mail > transaction",
    }
    (sent,) = (span for span in spans if span.name == "send users.create_user")
    assert {one.key: one.value.string_value for one in sent.attributes} == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "users.hashing.anonymous",
    }


def _paths(spans: list[Any], parent: str, above: str = "") -> Iterator[str]:
    """The names of the spans below a span, each after those above it."""
    for span in spans:
        if span.parent_span_id.hex() == parent:
            yield above + span.name
            yield from _paths(spans, span.span_id.hex(), f"{above}{span.name} > ")
