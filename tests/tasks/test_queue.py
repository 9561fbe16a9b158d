"""Publishing: confirmed, bounded by the deadline whatever the broker does, and safe across a fork."""

from __future__ import annotations

import gc
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from backend.kernel.breaker import Breaker
from backend.kernel.delivery.envelope import EVENTS_EXCHANGE, Envelope, LaneFull, MessageRefused, QueueUnavailable
from tasks.lanes import _BOUND
from tasks.queue import CeleryQueue
from tests.broker import RabbitMQ
from tests.proxy import Proxy
from tests.tasks.conftest import Broker, MakeQueue, app_on, envelope, through
from tests.worker import eventually

_LANE = "users.hashing"


@pytest.fixture
def private_url(private_rabbitmq: RabbitMQ) -> Iterator[str]:
    """A virtual host of the node that tests may break."""
    with private_rabbitmq.vhost() as url:
        yield url


def test_a_sent_message_lies_in_its_lane_as_a_persistent_task_with_its_context(
    queue_to: MakeQueue, broker: Broker
) -> None:
    sent = envelope(name="Ada", tags=["a", 1, None])
    queue_to(broker.url).send(sent, 10)
    message = broker.next_in(_LANE)
    headers = message.properties["application_headers"]
    assert (headers["task"], headers["id"], headers["envelope"]) == (sent.name, str(sent.id), sent.headers.as_json())
    assert json.loads(message.body)[:2] == [[], {"name": "Ada", "tags": ["a", 1, None]}]
    assert message.properties["delivery_mode"] == 2
    assert message.properties["content_type"] == "application/json"


def test_a_sealed_field_shows_neither_its_text_nor_its_cipher_in_the_headers(
    queue_to: MakeQueue, broker: Broker
) -> None:
    queue_to(broker.url).send(envelope(name="Ada", password="sealed:gAAAA", more=[{"x": "sealed:b"}]), 10)
    headers = broker.next_in(_LANE).properties["application_headers"]
    assert "Ada" in headers["kwargsrepr"]
    assert "sealed" not in json.dumps(headers)


def test_the_headers_of_the_largest_body_fit_into_a_frame(queue_to: MakeQueue, broker: Broker) -> None:
    sent = envelope(text="\U000e0001" * 16_000)
    queue_to(broker.url).send(sent, 10)
    assert json.loads(broker.next_in(_LANE).body)[1] == dict(sent.body)


def test_an_event_reaches_whoever_bound_a_queue_and_nobody_need_have(queue_to: MakeQueue, broker: Broker) -> None:
    queue = queue_to(broker.url)
    event = _event()
    assert queue.send_all([event], 10) == {event.id}
    mine = broker.channel.queue_declare(exclusive=True, auto_delete=False).queue
    broker.channel.queue_bind(mine, "events", "users.#")
    assert queue.send_all([event], 10) == {event.id}
    message = broker.next_in(mine)
    assert json.loads(message.body) == event.body
    assert message.properties["content_type"] == "application/cloudevents+json"
    assert message.properties["delivery_mode"] == 2
    assert broker.waiting_in(mine) == 0


def test_of_several_at_once_those_are_told_that_the_broker_took(queue_to: MakeQueue, broker: Broker) -> None:
    queue = queue_to(broker.url)
    good = [envelope(number=number) for number in range(50)]
    lost = envelope("users.no_such_lane")
    event = _event()
    assert queue.send_all([*good[:25], lost, event, *good[25:]], 10) == {event.id, *(one.id for one in good)}
    arrived = {broker.next_in(_LANE).properties["correlation_id"] for _ in good}
    assert arrived == {str(one.id) for one in good}


def test_an_unknown_lane_is_refused_and_the_other_lanes_still_work(queue_to: MakeQueue, broker: Broker) -> None:
    queue = queue_to(broker.url)
    for _ in range(3):
        with pytest.raises(QueueUnavailable):
            queue.send(envelope("users.no_such_lane"), 10)
    sent = envelope()
    queue.send(sent, 10)
    assert broker.next_in(_LANE).properties["correlation_id"] == str(sent.id)


def test_a_refusal_of_a_lane_that_is_never_full_is_the_brokers_own_trouble(
    queue_to: MakeQueue, private_rabbitmq: RabbitMQ
) -> None:
    """As while a node of a cluster is down: what is refused can be spooled."""
    with private_rabbitmq.vhost() as url:
        queue, refusals = queue_to(url, threads=1), []

        def is_refused() -> bool:
            try:
                queue.send(envelope(), 10)
            except QueueUnavailable as refusal:
                refusals.append(type(refusal))
            return bool(refusals)

        assert not is_refused()
        limit = json.dumps({"max-length": 1, "overflow": "reject-publish"})
        private_rabbitmq.control("set_policy", "-p", url.rpartition("/")[2], "full", f"^{_LANE}$", limit)
        eventually(is_refused)
    assert refusals == [MessageRefused]


def test_a_full_lane_refuses_and_the_messages_beside_it_do_not_wait(
    queue_to: MakeQueue, private_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits in a lane of anonymous work is bounded; the refusal costs nobody the connection."""
    monkeypatch.setitem(_BOUND, "x-max-length", 2)
    queue = queue_to(private_url, threads=1)
    eventually(lambda: _is_full(queue, "users.hashing.anonymous"))  # RabbitMQ lets some more through at first
    anonymous = [envelope("users.hashing.anonymous") for _ in range(20)]
    others = [envelope() for _ in range(20)]
    confirmed = queue.send_all([one for pair in zip(anonymous, others, strict=True) for one in pair], 10)
    assert confirmed == {one.id for one in others}
    assert not queue.breaker_open
    with closing(Broker(private_url)) as broker:
        assert broker.waiting_in(_LANE) == 20


def test_a_lane_deleted_behind_our_back_is_made_again(queue_to: MakeQueue, broker: Broker) -> None:
    queue = queue_to(broker.url, threads=1)  # the one whose connection knew the lane
    queue.send(envelope(), 10)
    broker.channel.queue_delete(_LANE)
    sent = envelope()
    queue.send(sent, 10)
    assert broker.next_in(_LANE).properties["correlation_id"] == str(sent.id)


def test_a_cut_connection_costs_no_message(queue_to: MakeQueue, broker: Broker, stalling: Proxy) -> None:
    queue = queue_to(through(stalling, broker.url))
    for _ in range(8):
        queue.send(envelope(), 10)
    stalling.cut()
    sent = [envelope() for _ in range(8)]
    for one in sent:
        queue.send(one, 10)
    found = [broker.next_in(_LANE).properties["correlation_id"] for _ in range(16)]
    assert {str(one.id) for one in sent} <= set(found)


def test_a_broker_that_is_not_there_is_unavailable_and_taken_up_again_once_it_is(
    queue_to: MakeQueue, broker: Broker, stalling: Proxy
) -> None:
    queue = queue_to(through(stalling, broker.url))
    stalling.refuse()
    with capture_logs() as lines, pytest.raises(QueueUnavailable):
        queue.send(envelope(), 10)
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("the broker did not answer", "ConnectionRefusedError")
    ]
    assert queue.breaker_open
    stalling.accept()
    eventually(lambda: _sends(queue))
    eventually(lambda: not queue.breaker_open)
    broker.channel.queue_purge(_LANE)


def test_a_connection_that_stalls_holds_the_caller_until_the_deadline_and_the_next_ones_not_at_all(
    queue_to: MakeQueue, broker: Broker, stalling: Proxy
) -> None:
    queue = queue_to(through(stalling, broker.url), threads=1, confirm_seconds=3600, open_seconds=3600)
    queue.send(envelope(), 10)
    stalling.stall()
    for _ in range(3):
        with pytest.raises(QueueUnavailable):
            queue.send(envelope(), 0.2 if not queue.breaker_open else 3600)
    assert queue.breaker_open


def test_a_connection_that_stalled_is_replaced(queue_to: MakeQueue, broker: Broker, stalling: Proxy) -> None:
    queue = queue_to(through(stalling, broker.url), threads=1, open_seconds=0)
    queue.send(envelope(), 10)
    stalling.stall()
    with pytest.raises(QueueUnavailable):
        queue.send(envelope(), 0.2)
    stalling.flow()
    eventually(lambda: _sends(queue))
    broker.channel.queue_purge(_LANE)


def test_a_broker_that_stalls_from_the_start_holds_the_caller_until_the_deadline_and_the_next_ones_not_at_all(
    queue_to: MakeQueue, broker: Broker, stalling: Proxy
) -> None:
    queue = queue_to(through(stalling, broker.url), confirm_seconds=3600, open_seconds=3600)
    stalling.stall()
    late = envelope()
    with pytest.raises(QueueUnavailable):
        queue.send(late, 0.2)
    with pytest.raises(QueueUnavailable):
        queue.send(envelope(), 3600)
    stalling.flow()
    eventually(lambda: not queue.breaker_open)  # the late confirm closes it
    assert broker.next_in(_LANE).properties["correlation_id"] == str(late.id)


def test_what_waits_for_a_thread_at_its_deadline_is_never_published(
    queue_to: MakeQueue, broker: Broker, stalling: Proxy
) -> None:
    queue = queue_to(through(stalling, broker.url), threads=1, confirm_seconds=3600, open_seconds=0)
    late, never, last = (envelope() for _ in range(3))
    stalling.stall()
    for one in (late, never):
        with pytest.raises(QueueUnavailable):
            queue.send(one, 0.2)
    stalling.flow()
    queue.send(last, 3600)
    found = [broker.next_in(_LANE).properties["correlation_id"] for _ in range(2)]
    assert found == [str(late.id), str(last.id)]


def test_more_waiting_messages_than_bearable_are_refused(queue_to: MakeQueue, broker: Broker, stalling: Proxy) -> None:
    queue = queue_to(through(stalling, broker.url), confirm_seconds=3600, open_seconds=0, most_waiting=1)
    stalling.stall()
    with pytest.raises(QueueUnavailable):
        queue.send(envelope(), 0.2)
    with pytest.raises(QueueUnavailable, match="too many"):
        queue.send(envelope(), 3600)
    stalling.flow()
    eventually(lambda: _sends(queue))
    broker.channel.queue_purge(_LANE)


def test_while_open_one_call_at_a_time_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("backend.kernel.breaker.monotonic", lambda: now)
    breaker = Breaker("broker", 1.0)
    breaker.failed()
    assert not breaker.allows()
    now = 101.5
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert all(breaker.allows() for _ in range(3))


def test_a_memory_alarm_holds_the_caller_until_the_deadline_and_passes(
    queue_to: MakeQueue, private_rabbitmq: RabbitMQ, private_url: str
) -> None:
    queue = queue_to(private_url, confirm_seconds=3600)
    queue.send(envelope(), 10)
    with private_rabbitmq.alarmed(), pytest.raises(QueueUnavailable):
        queue.send(envelope(), 0.5)
    eventually(lambda: _sends(queue))


def test_a_broker_that_was_restarted_is_taken_up_again_with_what_was_sent_before(
    queue_to: MakeQueue, private_rabbitmq: RabbitMQ, private_url: str
) -> None:
    queue = queue_to(private_url)
    sent = envelope()
    queue.send(sent, 10)
    with private_rabbitmq.stopped(), pytest.raises(QueueUnavailable):
        queue.send(envelope(), 10)
    eventually(lambda: _sends(queue))
    with closing(Broker(private_url)) as broker:
        assert broker.next_in(_LANE).properties["correlation_id"] == str(sent.id)


def test_parent_and_child_of_a_fork_publish_each_message_once(queue_to: MakeQueue, broker: Broker) -> None:
    queue = queue_to(broker.url)
    sent = [envelope() for _ in range(3)]
    queue.send(sent[0], 10)
    with warnings.catch_warnings(action="ignore"):  # newer Pythons warn of threads at a fork: it is what is tested
        child = os.fork()
    if child == 0:
        os._exit(0 if _sends(queue, sent[1]) else 1)
    queue.send(sent[2], 10)
    assert os.waitpid(child, 0)[1] == 0
    found = sorted(broker.next_in(_LANE).properties["correlation_id"] for _ in range(3))
    assert found == sorted(str(one.id) for one in sent)
    assert broker.waiting_in(_LANE) == 0


def test_a_fork_leaves_the_connections_of_the_parent_open(queue_to: MakeQueue, broker: Broker, stalling: Proxy) -> None:
    queue = queue_to(through(stalling, broker.url), threads=1)
    queue.send(envelope(), 10)
    stalling.turn_away()
    with warnings.catch_warnings(action="ignore"):
        child = os.fork()
    if child == 0:
        gc.collect()  # py-amqp shuts the socket of a connection that nobody has any longer
        os._exit(0)
    os.waitpid(child, 0)
    queue.send(envelope(), 10)
    broker.channel.queue_purge(_LANE)


def test_a_thread_that_holds_our_locks_during_a_fork_does_not_hang_the_child(
    queue_to: MakeQueue, broker: Broker
) -> None:
    queue = queue_to(broker.url)
    with queue._publishers._lock, warnings.catch_warnings(action="ignore"):  # noqa: SLF001 - as another thread might
        child = os.fork()
    if child == 0:
        os._exit(0 if _sends(queue) else 1)
    assert os.waitpid(child, 0)[1] == 0
    broker.channel.queue_purge(_LANE)


def test_the_embedded_transport_carries_the_same_message(queue_to: MakeQueue, embedded_broker: Path) -> None:
    sent = envelope(name="Ada", password="sealed:gAAAA")
    queue = queue_to("filesystem://")
    queue.send(sent, 10)
    event = _event()
    assert queue.send_all([event], 10) == {event.id}
    with app_on("filesystem://").connection_for_read() as connection:
        message = connection.default_channel.basic_get(_LANE, no_ack=True)
        assert message.headers["envelope"] == sent.headers.as_json()
        assert message.headers["kwargsrepr"] == repr({"name": "Ada", "password": "•••"})
        assert json.loads(message.body)[1] == dict(sent.body)
    assert not list((embedded_broker / "messages").iterdir())


def _event() -> Envelope:
    name = "users.user_created.v1"
    body = {"specversion": "1.0", "id": str(uuid4()), "source": "/users", "type": name, "data": {}}
    return Envelope(uuid4(), name, EVENTS_EXCHANGE, body)


def _is_full(queue: CeleryQueue, lane: str) -> bool:
    try:
        queue.send(envelope(lane), 10)
    except LaneFull:
        return True
    return False


def _sends(queue: CeleryQueue, one: Envelope | None = None) -> bool:
    try:
        queue.send(one or envelope(), 10)
    except QueueUnavailable:
        return False
    return True
