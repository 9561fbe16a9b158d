"""A worker that is told to end finishes its work, and takes leave of broker and collector."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest

from tests.broker import RabbitMQ
from tests.flow.programs import ApiProcess
from tests.worker import WorkerProcess, environment


class Collector(ThreadingHTTPServer):
    """Takes spans as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TakeSpans)
        self.taken: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _TakeSpans(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.taken.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_an_ending_worker_sends_its_spans_and_says_goodbye_to_the_broker(
    private_rabbitmq: RabbitMQ, clean_database: str, collector: Collector, pool: str
) -> None:
    """Spans wait up to five seconds to be sent together; RabbitMQ complains of clients that just vanish."""
    with private_rabbitmq.vhost() as url:
        settings = environment(BROKER_URL=url, DATABASE_URL=clean_database)
        traced = {**settings, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        with ApiProcess(settings) as api, WorkerProcess(traced, "--pool", pool, "--concurrency", "1") as worker:
            body = {"name": "Ada", "email": f"{uuid4().hex}@example.com", "password": "correct horse battery"}
            assert api.client.post("/api/v1/users", body, Prefer="wait=10").status == 201
            before = len(private_rabbitmq.complaints())  # of processes of earlier tests, which may just have vanished
            assert worker.terminate() == 0
            complaints = private_rabbitmq.complaints()[before:]
    assert any(b"users.create_user" in spans for spans in collector.taken)
    assert complaints == []
