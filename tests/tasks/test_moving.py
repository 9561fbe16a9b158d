"""A queue with other arguments gets ours, and keeps its messages, whatever interrupts that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from amqp import Channel
from kombu import Connection, Exchange, Queue

from tasks import moving
from tasks.lanes import _LANE_ARGUMENTS, COMMANDS
from tasks.moving import CannotMove, Form, look_at, move
from tests.tasks.conftest import Broker
from tests.worker import eventually


@pytest.fixture
def connection(rabbitmq_url: str) -> Iterator[Connection]:
    with Connection(rabbitmq_url) as connection:
        yield connection


@pytest.fixture
def queue(connection: Connection) -> Iterator[Queue]:
    """A lane as the program would declare it."""
    lane = f"moved.{uuid4().hex[:8]}"
    yield Queue(lane, Exchange(COMMANDS, type="topic", durable=True), lane, queue_arguments=_LANE_ARGUMENTS)
    with connection.channel() as channel:
        channel.queue_delete(lane)


@pytest.fixture
def waiting(connection: Connection, queue: Queue, broker: Broker) -> list[str]:
    """The ids of three messages that wait in the lane, which has arguments of an earlier release."""
    with connection.channel() as channel:
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": 9}
        Queue(queue.name, queue.exchange, queue.routing_key, queue_arguments=arguments)(channel).declare()
    return [broker.task("sample.work", queue.name, number=number) for number in range(3)]


def ids_in(connection: Connection, queue: Queue) -> list[str]:
    """What is in the queue; taken from it."""
    found = []
    with connection.channel() as channel:
        while (message := channel.basic_get(queue.name)) is not None:
            channel.basic_ack(message.delivery_tag)
            found.append(message.properties["application_headers"]["id"])
    return found


def test_a_queue_with_other_arguments_is_moved_with_every_message(
    connection: Connection, queue: Queue, waiting: list[str], broker: Broker
) -> None:
    found = look_at(connection, queue)
    assert (found.form, found.ready) == (Form.OTHER_ARGUMENTS, 3)
    assert "x-delivery-limit" in found.difference or "x-dead-letter" in found.difference

    assert move(connection, queue) == 3
    assert look_at(connection, queue).form is Form.AS_DECLARED
    new = broker.task("sample.work", queue.name)
    assert ids_in(connection, queue) == [*waiting, new]


@pytest.mark.parametrize("interrupted_in", ["basic_ack", "basic_publish_confirm", "queue_delete", "queue_unbind"])
@pytest.mark.parametrize("at_call", [1, 2, 4, 5])
def test_a_move_that_was_interrupted_anywhere_is_completed_by_the_next(  # noqa: PLR0913, PLR0917 - fixtures
    connection: Connection,
    queue: Queue,
    waiting: list[str],
    monkeypatch: pytest.MonkeyPatch,
    interrupted_in: str,
    at_call: int,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Channel, interrupted_in, failing(getattr(Channel, interrupted_in), at_call))
        with Connection(connection.as_uri(include_password=True)) as doomed:
            try:
                move(doomed, queue)
            except KeyboardInterrupt:
                doomed.collect()  # as a killed process: nothing is said to the broker
    eventually(lambda: _moved(connection, queue))
    found = look_at(connection, queue)
    assert (found.form, found.aside) == (Form.AS_DECLARED, None)
    assert set(ids_in(connection, queue)) == set(waiting)  # one may be there twice: the inbox drops the second


def _moved(connection: Connection, queue: Queue) -> bool:
    """False while the broker has not noticed that the interrupted move is gone."""
    try:
        move(connection, queue)
    except CannotMove:
        return False
    return True


def failing(method: Callable[..., Any], at_call: int) -> Callable[..., Any]:
    calls = iter(range(1, 100))

    def called(*arguments: Any, **options: Any) -> Any:
        if next(calls) == at_call:
            raise KeyboardInterrupt
        return method(*arguments, **options)

    return called


def test_a_message_that_is_published_during_a_move_is_there_afterwards(
    connection: Connection, queue: Queue, waiting: list[str], broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile: list[str] = []
    delete = moving._delete  # noqa: SLF001 - where it is interrupted

    def published_before(connection: Connection, name: str) -> None:
        meanwhile.append(broker.task("sample.work", queue.name))
        delete(connection, name)

    monkeypatch.setattr(moving, "_delete", published_before)
    move(connection, queue)
    assert set(ids_in(connection, queue)) == {*waiting, *meanwhile}


@pytest.mark.usefixtures("waiting")
def test_a_queue_that_is_consumed_is_not_moved(connection: Connection, queue: Queue) -> None:
    with connection.channel() as channel:
        channel.basic_consume(queue.name, callback=lambda _message: None)
        with pytest.raises(CannotMove, match="stop its workers"):
            move(connection, queue)
    eventually(lambda: look_at(connection, queue).ready == 3)  # the queue hears of a closed channel a moment later


def test_what_does_not_exist_is_declared_and_what_is_right_stays(connection: Connection, queue: Queue) -> None:
    assert look_at(connection, queue).form is Form.MISSING
    assert move(connection, queue) == 0
    assert look_at(connection, queue).form is Form.AS_DECLARED
    assert move(connection, queue) == 0
