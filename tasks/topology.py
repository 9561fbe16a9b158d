"""Declares what must exist in RabbitMQ before the first message: lanes, dead letters, the events exchange.

Workers and publishers declare it themselves; `python -m tasks.topology` declares it ahead of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from amqp.exceptions import AccessRefused, PreconditionFailed
from kombu import Connection, Exchange, Queue
from kombu.transport.native_delayed_delivery import (
    bind_queue_to_native_delayed_delivery_exchange,
    declare_native_delayed_delivery_exchanges_and_queues,
)

from backend.kernel.delivery.envelope import EVENTS_EXCHANGE
from backend.program import load_program
from tasks.broker import connect
from tasks.lanes import COMMANDS, DEAD_LETTERS, conf_of

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
        declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
        for lane in lanes:
            bind_queue_to_native_delayed_delivery_exchange(connection, lane)


def _declare(entity: Any, channel: Any) -> None:
    try:
        entity(channel).declare()
    except PreconditionFailed as refusal:
        # RabbitMQ's text names the argument; the exception's type alone is logged elsewhere.
        remedy = f"{entity.name} exists with other arguments: stop its workers, run `flask topology move {entity.name}`"
        log.error(remedy, reason=refusal.reply_text)  # noqa: TRY400
        raise


if __name__ == "__main__":
    conf = conf_of(load_program())
    with Connection(conf["broker_url"], ssl=conf.get("broker_use_ssl", False)) as broker:
        connect(broker)
        try:
            declare_topology(broker, conf["task_queues"])
        except PreconditionFailed:
            sys.exit(1)  # the log says what to do
        declare_delays(broker, conf["task_queues"])
