"""The nodes of RabbitMQ: dead ones, and those that are not who they say."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from kombu import Connection

from backend.kernel.delivery.envelope import QueueUnavailable
from tasks.app import ProgramApp
from tasks.queue import CeleryQueue
from tests import certificates
from tests.broker import RabbitMQ
from tests.flow.programs import free_port
from tests.proxy import Proxy
from tests.tasks.conftest import Broker, app_on, envelope, through
from tests.worker import WorkerProcess, environment


def test_messages_are_published_though_the_first_nodes_of_the_list_are_dead(
    broker: Broker, queue_to: Callable[..., CeleryQueue]
) -> None:
    queue_to(";".join([_dead(broker.url), _dead(broker.url), broker.url])).send(envelope(), 10)


@pytest.fixture
def own_broker(private_rabbitmq: RabbitMQ) -> Iterator[Broker]:
    """One whose lanes no other worker consumes."""
    with private_rabbitmq.vhost() as url, closing(Broker(url)) as broker:
        yield broker


def test_a_worker_that_reconnects_asks_no_dead_node_of_the_list(own_broker: Broker, tmp_path: Path) -> None:
    """It has found out at its start that the first one is dead: with many connections each try would cost time."""
    broker, server = own_broker, urlsplit(own_broker.url)
    with (
        Proxy("127.0.0.1", server.port or 0) as proxy,
        _worker(tmp_path, ";".join([_dead(broker.url), through(proxy, broker.url)])) as worker,
    ):
        assert worker.logs().count("Cannot connect to") == 1
        since = worker.mark()
        proxy.cut()
        worker.await_log("Connected to", since)
        worker.await_log(f"received {broker.task()}", since)
        assert not worker.has_said("Cannot connect to", since)


def test_a_worker_that_reconnects_declares_again_what_rabbitmq_has_lost(own_broker: Broker, tmp_path: Path) -> None:
    """Without the exchange of the delays, nothing could be tried again later."""
    broker, server = own_broker, urlsplit(own_broker.url)
    with (
        Proxy("127.0.0.1", server.port or 0) as proxy,
        _worker(tmp_path, through(proxy, broker.url)) as worker,
    ):
        broker.channel.exchange_delete("celery_delayed_delivery")
        since = worker.mark()
        proxy.cut()
        worker.await_log(f"received {broker.task()}", since)
        broker.channel.exchange_declare("celery_delayed_delivery", "topic", passive=True)


def test_a_worker_leaves_a_node_that_falls_silent_and_waits_for_nothing_there(
    own_broker: Broker, tmp_path: Path
) -> None:
    """It lets clients in and says nothing: a hung process, or a host whose answers are lost."""
    broker = own_broker
    with _two_ways_to(broker.url) as (first, urls), _worker(tmp_path, urls, app="tests.tasks.patient") as worker:
        worker.await_log(f"done {broker.task(do='succeed')}")
        since = worker.mark()
        first.stall()
        worker.await_log("Connected to", since)
        worker.await_log(f"received {broker.task(do='succeed')}", since)


def test_a_worker_leaves_a_silent_node_without_waiting_for_heartbeats(own_broker: Broker, tmp_path: Path) -> None:
    """It asks, and another node answers. Heartbeats of seconds would make RabbitMQ give up a worker that is busy."""
    broker = own_broker
    with _two_ways_to(broker.url) as (first, urls), _worker(tmp_path, urls, app="tests.tasks.unhurried") as worker:
        worker.await_log(f"done {broker.task(do='succeed')}")
        since = worker.mark()
        first.stall()
        worker.await_log("Connected to", since)
        first.cut()  # RabbitMQ, which is not silent here, would go on delivering to the old connection
        worker.await_log(f"received {broker.task(do='succeed')}", since)


def test_a_message_that_a_silent_node_does_not_confirm_is_published_by_another(broker: Broker) -> None:
    with (
        _two_ways_to(broker.url) as (first, urls),
        closing(CeleryQueue(_patient_app(urls), threads=1, confirm_seconds=1)) as queue,
    ):
        queue.send(envelope(), 30)
        first.stall()
        queue.send(envelope(), 30)


def test_every_publisher_leaves_a_node_that_one_of_them_found_silent(broker: Broker) -> None:
    with _two_ways_to(broker.url) as (first, urls):
        app = _patient_app(urls)
        with closing(CeleryQueue(app, threads=1, confirm_seconds=3600)) as queue:
            queue.send(envelope(), 30)
            first.stall()
            app.nodes.fell_silent(Connection(urls))
            queue.send(envelope(), 30)


def test_a_worker_starts_while_the_broker_still_keeps_the_connection_of_the_one_before(
    own_broker: Broker, tmp_path: Path
) -> None:
    """RabbitMQ notices after some heartbeats that a host is gone. Its exclusive queues are locked until then."""
    worker = _worker(tmp_path, own_broker.url)
    own_broker.channel.queue_declare(f"{worker.node}.celery.pidbox", exclusive=True)
    with worker:
        worker.await_log(f"done {own_broker.task(do='succeed')}")


def test_over_tls_the_broker_is_asked_for_by_name_and_proves_it(broker: Broker, tmp_path: Path) -> None:
    certificate = certificates.self_signed(tmp_path, "localhost")
    asked: list[str | None] = []
    with _tls(broker.url, certificate, asked) as (url, _), _queue(url, certificate) as queue:
        queue.send(envelope(), 10)
    assert set(asked) == {"localhost"}


def test_over_tls_long_messages_arrive_and_a_stall_holds_the_caller_until_the_deadline(
    broker: Broker, tmp_path: Path
) -> None:
    certificate = certificates.self_signed(tmp_path, "localhost")
    sent = [envelope(text=text) for text in ("", "long" * 50_000, "", "long" * 50_000)]
    with _tls(broker.url, certificate, []) as (url, proxy), _queue(url, certificate) as queue:
        for one in sent:
            queue.send(one, 10)
        proxy.stall()
        with pytest.raises(QueueUnavailable):
            queue.send(envelope(), 0.2)
    texts, arrived = {str(one.id): one.body["text"] for one in sent}, dict[str, str]()
    while not texts.keys() <= arrived.keys():  # after what another test has left
        message = broker.next_in("users.hashing")
        arrived[message.properties["correlation_id"]] = json.loads(message.body)[1].get("text")
    assert texts.items() <= arrived.items()


@pytest.mark.parametrize(("name", "expired"), [("localhost", True), ("other.example", False)], ids=["old", "another's"])
def test_nothing_is_sent_to_a_broker_whose_certificate_is_not_accepted(
    broker: Broker, tmp_path: Path, name: str, *, expired: bool
) -> None:
    bad = certificates.self_signed(tmp_path, name, expired=expired)
    authority = tmp_path / "trusted.pem"
    authority.write_bytes(bad.read_bytes())
    with _tls(broker.url, bad, []) as (url, _), _queue(url, authority) as queue:
        with pytest.raises(QueueUnavailable, match="certificate is not accepted"):
            queue.check(10)
        with pytest.raises(QueueUnavailable):
            queue.send(envelope(), 10)


def test_each_node_of_a_list_proves_its_own_name(broker: Broker, tmp_path: Path) -> None:
    """Even after another one was asked first: kombu's option keeps the first name for all of them."""
    certificate = certificates.self_signed(tmp_path, "localhost")
    with _tls(broker.url, certificate, []) as (url, _):
        first = urlsplit(_dead(url))
        dead = urlunsplit(first._replace(netloc=first.netloc.replace("localhost", "127.0.0.1")))
        with _queue(f"{dead};{url}", certificate) as queue:
            queue.send(envelope(), 10)


def _worker(directory: Path, broker_url: str, app: str = "tests.tasks.sample") -> WorkerProcess:
    settings = environment(BROKER_URL=broker_url, SAMPLE_DIRECTORY=str(directory))
    return WorkerProcess(settings, "-P", "prefork", "-c", "1", app=app)


@contextmanager
def _two_ways_to(url: str) -> Iterator[tuple[Proxy, str]]:
    """Two nodes that share their queues: two proxies before one broker. The first one, and the addresses of both."""
    server = urlsplit(url)
    host, port = server.hostname or "127.0.0.1", server.port or 5672
    with Proxy(host, port) as first, Proxy(host, port) as second:
        yield first, ";".join([through(first, url), through(second, url)])
        first.flow()


def _patient_app(urls: str) -> ProgramApp:
    """It waits an hour for a node that lets it in and says nothing."""
    app = app_on(urls)
    app.conf.broker_connection_timeout = 3600
    app.conf.broker_transport_options |= {"read_timeout": 3600}
    return app


@contextmanager
def _tls(url: str, certificate: Path, asked: list[str | None]) -> Iterator[tuple[str, Proxy]]:
    """The broker behind TLS, which notes by which name it was asked for."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    server = urlsplit(url)
    with Proxy(server.hostname or "127.0.0.1", server.port or 5672, tls=context) as proxy:
        netloc = f"{server.username}:{server.password}@localhost:{proxy.port}"
        yield urlunsplit(server._replace(scheme="amqps", netloc=netloc)), proxy


@contextmanager
def _queue(url: str, authority: Path) -> Iterator[CeleryQueue]:
    queue = CeleryQueue(app_on(url, broker_ca_file=str(authority)))
    yield queue
    queue.close()


def _dead(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@{parts.hostname}:{free_port()}"))
