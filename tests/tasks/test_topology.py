"""What exists in RabbitMQ before the first message, and what becomes of a queue that is not as we declare it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kombu import Connection

from backend.kernel.delivery.envelope import QueueUnavailable
from tests.broker import RabbitMQ
from tests.tasks.conftest import Broker, MakeQueue, envelope
from tests.worker import Program, environment

_LANE = "users.hashing"


@pytest.fixture
def fresh_url(private_rabbitmq: RabbitMQ) -> Iterator[str]:
    """A broker that has never seen the program."""
    with private_rabbitmq.vhost() as url:
        yield url


def test_a_message_published_before_any_worker_was_started_waits_for_one(queue_to: MakeQueue, fresh_url: str) -> None:
    """`202` is said only after the broker has the message, also on the first day."""
    queue_to(fresh_url).send(envelope(_LANE, a=1), 5)
    broker = Broker(fresh_url)
    assert broker.waiting_in(_LANE) == 1
    assert broker.waiting_in("dead-letters") == 0
    broker.close()


@pytest.mark.parametrize(
    ("kind", "name", "remedy"),
    [
        ("exchange", "events", "events exists with other arguments: stop every process and delete this exchange"),
        ("exchange", "commands", "commands exists with other arguments: stop every process and delete this exchange"),
        ("queue", "celery_delayed_3", "celery_delayed_3 exists with other arguments: stop the workers, delete"),
        ("queue", "dead-letters", "run `flask topology move dead-letters`"),
    ],
)
def test_whatever_has_other_arguments_is_named_with_what_to_do_about_it(
    fresh_url: str, kind: str, name: str, remedy: str
) -> None:
    with Connection(fresh_url) as connection, connection.channel() as channel:
        if kind == "exchange":
            channel.exchange_declare(name, "fanout", durable=True, auto_delete=False)
        else:
            channel.queue_declare(name, durable=True, auto_delete=False)
    command = ("python", "-m", "tasks.topology")
    with Program("topology", *command, environment=environment(BROKER_URL=fresh_url)) as topology:
        assert topology.ended() == 1
        assert remedy in topology.logs()
        assert "Traceback" not in topology.logs()


@pytest.mark.parametrize(
    ("right", "mistake", "said"),
    [
        ("127.0.0.1", "nowhere.invalid", "RabbitMQ cannot be reached; see BROKER_URL"),
        ("guest:guest", "guest:mistyped", "RabbitMQ refuses the account or the password; see BROKER_URL"),
        ("/tests-", "/none-", "RabbitMQ has no such virtual host, or not for this account; see BROKER_URL"),
    ],
)
def test_whoever_cannot_connect_is_told_why_in_a_sentence(fresh_url: str, right: str, mistake: str, said: str) -> None:
    url = fresh_url.replace(right, mistake)
    with Program("topology", "python", "-m", "tasks.topology", environment=environment(BROKER_URL=url)) as topology:
        assert topology.ended() == 1
        assert topology.logs() == f"{said}\n"


def test_a_lane_with_other_arguments_is_named_and_refused(queue_to: MakeQueue, fresh_url: str) -> None:
    """Arguments belong to a queue's identity: neither publishers nor workers can go on, and both say why."""
    with Connection(fresh_url) as connection, connection.channel() as channel:
        channel.queue_declare(_LANE, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})

    queue = queue_to(fresh_url)
    with pytest.raises(QueueUnavailable):
        queue.send(envelope(_LANE, a=1), 5)

    command = ("celery", "-A", "tasks.app", "--quiet", "worker", "-c", "1")
    with Program("worker", *command, environment=environment(BROKER_URL=fresh_url)) as worker:
        said = worker.await_log("exists with other arguments")
        assert _LANE in said
        assert "x-delivery-limit" in said or "x-dead-letter" in said
        assert worker.ended() != 0
