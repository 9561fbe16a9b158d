"""Declares what must exist in RabbitMQ before the first message: lanes, dead letters, the events exchange.

Workers and publishers declare it themselves; `python -m tasks.topology` declares it ahead of them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from amqp.exceptions import AccessRefused, AMQPError, NotFound, PreconditionFailed
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError
from kombu.transport.native_delayed_delivery import (
    CELERY_DELAYED_DELIVERY_EXCHANGE,
    bind_queue_to_native_delayed_delivery_exchange,
    declare_native_delayed_delivery_exchanges_and_queues,
)

from backend.kernel.delivery.envelope import EVENTS_EXCHANGE
from backend.program import load_program
from tasks.broker import connect, why_away
from tasks.lanes import COMMANDS, DEAD_LETTERS, conf_of

DELAYS = "celery_delayed_"
"""How the queues begin in which RabbitMQ keeps a message until it is due."""
_NAMED = re.compile(r"for (queue|exchange) '(.*?)'")

log = structlog.get_logger(__name__)


def declare_topology(connection: Connection, lanes: Iterable[Queue]) -> None:
    """Declare everything, on a channel of its own. Declaring what exists changes nothing.

    Raises:
        amqp.PreconditionFailed: a queue exists with other arguments: `flask topology move` changes them.
    """
    with connection.channel() as channel:
        if connection.transport.driver_type == "amqp":
            _declare(Exchange(EVENTS_EXCHANGE, type="topic", durable=True), channel)
            _declare(dead_letters(), channel)
        for lane in lanes:
            _declare(lane, channel)


def dead_letters() -> Queue:
    """The queue of dead letters. Never among task_queues: workers would process them again."""
    exchange = Exchange(f"{COMMANDS}.dead", type="topic", durable=True)
    # By default RabbitMQ 4 drops from a quorum queue what was requeued 20 times. Not -1, which RabbitMQ 3 takes for 0.
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
    return Queue(DEAD_LETTERS, exchange, routing_key="#", queue_arguments=arguments)


def ensure_topology(connection: Connection, lanes: Sequence[Queue]) -> None:
    """Declare everything; who may only publish finds at least that it exists.

    Raises:
        amqp.PreconditionFailed: a queue exists with other arguments.
        amqp.NotFound: something is missing, and this account may not declare it.
    """
    try:
        declare_topology(connection, lanes)
    except AccessRefused:
        with connection.channel() as channel:
            channel.exchange_declare(EVENTS_EXCHANGE, "topic", passive=True)
            for lane in lanes:
                channel.queue_declare(lane.name, passive=True)


def declare_delays(connection: Connection, lanes: Iterable[Queue]) -> None:
    """Declare the queues in which RabbitMQ keeps a message until it is to be delivered (Celery's native delayed
    delivery), and their way to the lanes.
    """
    if connection.transport.driver_type == "amqp":
        with _named():
            declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
            for lane in lanes:
                bind_queue_to_native_delayed_delivery_exchange(connection, lane)


def ensure_delays(connection: Connection, lanes: Iterable[Queue]) -> None:
    """Declare the delays again if RabbitMQ has lost them. Declaring each takes seconds while a node is away."""
    if connection.transport.driver_type == "amqp":
        try:
            with connection.channel() as channel:
                channel.exchange_declare(CELERY_DELAYED_DELIVERY_EXCHANGE, "topic", passive=True)
        except NotFound:
            declare_delays(connection, lanes)


def _declare(entity: Any, channel: Any) -> None:
    with _named():
        entity(channel).declare()


@contextmanager
def _named() -> Iterator[None]:
    """Log what exists with other arguments, and what to do about it. The exception's type alone is logged elsewhere."""
    try:
        yield
    except PreconditionFailed as refusal:
        log.error(_remedy(refusal.reply_text), reason=refusal.reply_text)  # noqa: TRY400
        raise


def _remedy(refusal: str) -> str:
    """What to do, from RabbitMQ's text: it names the queue or exchange, and the argument."""
    named = _NAMED.search(refusal)
    if named is None:
        return "something exists with other arguments"
    kind, name = named.groups()
    other = f"{name} exists with other arguments: "
    if kind == "exchange":
        return f"{other}stop every process and delete this exchange, which holds no messages; it is declared again"
    if name.startswith(DELAYS):
        return f"{other}stop the workers, delete this queue once it is empty, which takes minutes; it is declared again"
    return f"{other}stop its workers, run `flask topology move {name}`"


if __name__ == "__main__":
    conf = conf_of(load_program())
    with Connection(conf["broker_url"], ssl=conf.get("broker_use_ssl", False)) as broker:
        try:
            connect(broker)
        except (OperationalError, AMQPError) as error:
            sys.exit(why_away(error))
        try:
            declare_topology(broker, conf["task_queues"])
            declare_delays(broker, conf["task_queues"])
        except PreconditionFailed:
            sys.exit(1)  # the log says what to do
