"""Moves the messages of a queue that exists with other arguments to one with ours.

Arguments belong to a queue: RabbitMQ changes none of an existing one. So its messages go to a temporary queue, the
queue is deleted and declared again, and they come back. New messages are routed to the temporary queue meanwhile.

Guarantee: at each moment a message is in one of the two queues at least: it is acknowledged after RabbitMQ confirmed
its copy. A crash leaves at most one message in both, and the inbox drops the second copy. Each step finds out for
itself whether it was done, so whatever interrupts a move, the next one goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from amqp import Channel
from amqp.exceptions import MessageNacked, NotFound, PreconditionFailed
from kombu import Connection, Queue

_COUNTED_AGAIN = ("x-delivery-count",)
"""Headers that RabbitMQ writes for the queue that a message is in."""
_KEEPS_EVERYTHING = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}


class Form(StrEnum):
    """How a queue of the program exists."""

    AS_DECLARED = "as declared"
    OTHER_ARGUMENTS = "other arguments"
    MISSING = "missing"


@dataclass(frozen=True)
class Found:
    """A queue of the program, as it is in RabbitMQ.

    Attributes:
        ready: messages that no worker has taken.
        aside: messages in its temporary queue; None if there is none.
        difference: RabbitMQ's words for it.
    """

    name: str
    form: Form
    ready: int
    consumers: int
    aside: int | None
    difference: str = ""


class CannotMove(Exception):
    """A move cannot begin or end now; the text says why. No message is lost."""


def look_at(connection: Connection, queue: Queue) -> Found:
    """How the queue exists. It is not declared if it is missing."""
    aside = _counts(connection, _aside(queue))
    counts = _counts(connection, queue.name)
    left = aside[0] if aside else None
    if counts is None:
        return Found(queue.name, Form.MISSING, 0, 0, left)
    difference = _difference(connection, queue)
    return Found(queue.name, Form.OTHER_ARGUMENTS if difference else Form.AS_DECLARED, *counts, left, difference)


def move(connection: Connection, queue: Queue) -> int:
    """Give the queue our arguments and keep its messages; returns how many came back. Repeat it if it was interrupted.

    Raises:
        CannotMove: workers consume the queue, or it takes no more messages.
    """
    found = look_at(connection, queue)
    if found.form is Form.AS_DECLARED and found.aside is None:
        return 0
    if found.consumers:
        raise CannotMove(f"{queue.name} has {found.consumers} consumers: stop its workers, then repeat this")
    with connection.channel() as channel:
        aside = Queue(_aside(queue), queue.exchange, queue.routing_key, queue_arguments=_KEEPS_EVERYTHING)(channel)
        if found.form is Form.OTHER_ARGUMENTS:
            _declare(aside)  # bound first: a message of now is in both, and so in the one that stays
            _unbind(channel, queue)
            _transfer(channel, queue.name, aside.name)
            _delete(connection, queue.name)
        _declare(queue(channel))
        if found.form is Form.MISSING and found.aside is None:
            return 0
        _unbind(channel, aside)
        moved = _transfer(channel, aside.name, queue.name)
        _delete(connection, aside.name)
        return moved


def _transfer(channel: Channel, source: str, target: str) -> int:
    moved = 0
    while (message := channel.basic_get(source)) is not None:
        headers = message.properties.get("application_headers") or {}
        for name in _COUNTED_AGAIN:
            headers.pop(name, None)
        try:
            channel.basic_publish_confirm(message, "", target, mandatory=True)
        except MessageNacked:
            raise CannotMove(f"{target} takes no more messages: start workers for it, then repeat this") from None
        channel.basic_ack(message.delivery_tag)
        moved += 1
    return moved


def _delete(connection: Connection, name: str) -> None:
    """Nothing is routed to it any more. Quorum queues support neither `if-empty` nor `if-unused`, so this checks."""
    counts = _counts(connection, name)
    if counts is None:
        return
    ready, consumers = counts
    if consumers or ready:
        raise CannotMove(f"{name} has {ready} messages and {consumers} consumers: stop its workers, then repeat this")
    with connection.channel() as channel:
        channel.queue_delete(name)


def _declare(queue: Any) -> None:
    queue.declare()
    queue.bind_to(queue.exchange.name, routing_key=_after_a_delay(queue))


def _unbind(channel: Channel, queue: Queue) -> None:
    for key in (queue.routing_key, _after_a_delay(queue)):
        channel.queue_unbind(queue.name, queue.exchange.name, key)


def _after_a_delay(queue: Queue) -> str:
    """The key of messages that RabbitMQ delayed (Celery's native delayed delivery)."""
    key = str(queue.routing_key)
    return key if key.startswith("#") else f"#.{key}"


def _aside(queue: Queue) -> str:
    return f"{queue.name}.moving"


def _counts(connection: Connection, name: str) -> tuple[int, int] | None:
    try:
        with connection.channel() as channel:
            declared = channel.queue_declare(name, passive=True)
            return declared.message_count, declared.consumer_count
    except NotFound:
        return None


def _difference(connection: Connection, queue: Queue) -> str:
    try:
        with connection.channel() as channel:
            queue(channel).queue_declare()
    except PreconditionFailed as refusal:
        return str(refusal.reply_text).removeprefix("PRECONDITION_FAILED - ")
    return ""
