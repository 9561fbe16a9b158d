"""A broker with our topology, what lies in it, and workers as processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
from amqp import Message
from kombu import Connection, Producer
from pytest_celery import CeleryBrokerCluster, CeleryWorkerCluster

from backend.kernel.delivery.envelope import Envelope, Headers
from backend.program import Program
from tasks.app import ProgramApp, make_app
from tasks.queue import CeleryQueue
from tests.broker import forget_queues
from tests.proxy import Proxy
from tests.settings import settings_with
from tests.worker import PATIENCE, WorkerProcess, broker_node, environment, worker_node


class Broker:
    """The RabbitMQ of the tests, as a foreign program sees it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = Connection(url, transport_options={"confirm_publish": True})
        self._connection.connect()
        self.channel = self._connection.default_channel

    def close(self) -> None:
        self._connection.release()

    def publish(self, body: Any, routing_key: str = "sample.commands", **options: Any) -> None:
        """Put a message into a lane, whatever it looks like."""
        Producer(self.channel, auto_declare=False).publish(body, routing_key, exchange="commands", **options)

    def task(self, name: str = "sample.work", lane: str = "sample.commands", *, timeouts: int = 0, **body: Any) -> str:
        """Put a well-formed task into a lane; returns its id."""
        task_id = str(uuid4())
        shown = repr(dict.fromkeys(body, "…"))
        headers: dict[str, Any] = {"task": name, "id": task_id, "lang": "py", "argsrepr": "()", "kwargsrepr": shown}
        headers["envelope"] = {"request_id": "r1", **({"timeouts": timeouts} if timeouts else {})}
        self.publish([[], body, {}], lane, serializer="json", headers=headers)
        return task_id

    def next_in(self, queue: str) -> Message:
        """Wait for the next message of that queue, and take it. Nothing in it is decoded."""
        found: list[Message] = []
        self.channel.basic_qos(0, 1, a_global=False)
        consumer = self.channel.basic_consume(queue, callback=found.append)
        while not found:
            self._connection.drain_events(timeout=PATIENCE)
        self.channel.basic_cancel(consumer)
        self.channel.basic_ack(found[0].delivery_tag)
        return found[0]

    def waiting_in(self, queue: str) -> int:
        """How many messages are ready in that queue."""
        waiting: int = self.channel.queue_declare(queue, passive=True).message_count
        return waiting


@pytest.fixture(scope="package")
def rabbitmq_url(rabbitmq_url: str) -> str:
    """Without what the tests of another directory left in its queues."""
    forget_queues(rabbitmq_url)
    return rabbitmq_url


@pytest.fixture
def broker(rabbitmq_url: str) -> Iterator[Broker]:
    found = Broker(rabbitmq_url)
    yield found
    found.close()


MakeQueue = Callable[..., CeleryQueue]


@pytest.fixture
def queue_to() -> Iterator[MakeQueue]:
    """A queue on the broker at that address, with the options of `CeleryQueue`; closed at the end of the test."""
    queues: list[CeleryQueue] = []

    def make(url: str, **options: Any) -> CeleryQueue:
        queues.append(CeleryQueue(app_on(url), **options))
        return queues[-1]

    yield make
    for queue in queues:
        queue.close()


def app_on(url: str, **changes: Any) -> ProgramApp:
    """The Celery application of our program on the broker at that address."""
    return make_app(Program(settings_with(broker_url=url, **changes)))


@pytest.fixture
def embedded_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the embedded broker keeps its files in this test: not where the developer's are."""
    monkeypatch.setattr("tasks.lanes.VAR", tmp_path)
    return tmp_path / "broker"


@pytest.fixture
def stalling(rabbitmq_url: str) -> Iterator[Proxy]:
    """A proxy before the broker."""
    server = urlsplit(rabbitmq_url)
    with Proxy(server.hostname or "127.0.0.1", server.port or 5672) as proxy:
        yield proxy


def through(proxy: Proxy, url: str) -> str:
    """The broker's address by way of the proxy."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}"))


def envelope(lane: str = "users.hashing", **body: Any) -> Envelope:
    headers = Headers("r1", accepted_at="2026-01-01T00:00:00+00:00")
    return Envelope(uuid4(), "users.create_user", lane, body, headers)


@pytest.fixture
def sample_worker(_sample_worker: WorkerProcess) -> WorkerProcess:
    """The worker that carries out the sample's messages, started again if the test before ended it."""
    if not _sample_worker.running:
        _sample_worker.start()
        _sample_worker.ready()
    return _sample_worker


@pytest.fixture(scope="package")
def _sample_worker(rabbitmq_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    directory = tmp_path_factory.mktemp("sample")
    settings = environment(BROKER_URL=rabbitmq_url, SAMPLE_DIRECTORY=str(directory))
    with WorkerProcess(settings, "-P", "prefork", "-c", "1", "-E", app="tests.tasks.sample") as worker:
        yield worker


@pytest.fixture
def celery_worker_cluster(sample_worker: WorkerProcess) -> CeleryWorkerCluster:
    """pytest-celery's workers: ours, without Docker."""
    return CeleryWorkerCluster(worker_node(sample_worker))


@pytest.fixture
def celery_broker_cluster(rabbitmq_url: str) -> CeleryBrokerCluster:
    """pytest-celery's broker: the one of the test run."""
    return CeleryBrokerCluster(broker_node(rabbitmq_url))


@pytest.fixture
def celery_backend_cluster() -> None:
    """There is none."""
