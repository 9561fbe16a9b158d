"""A check of the delivery settings at start: it refuses a combination that can lose a message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backend.addresses import broker_urls
from tasks.lanes import MAINTENANCE

_REQUIRED = {
    "task_acks_late": (True, "a killed worker loses the message it had begun"),
    "task_reject_on_worker_lost": (True, "a killed child loses the message it had begun"),
    "task_acks_on_failure": (False, "a failed message is acknowledged instead of dead-lettered"),
    "task_acks_on_timeout": (False, "a message that ran out of time is acknowledged"),
    "task_create_missing_queues": (False, "a misspelled queue swallows messages"),
    "task_ignore_result": (True, "outcomes belong to PostgreSQL"),
    "worker_detect_quorum_queues": (True, "quorum queues refuse a global prefetch"),
    "worker_consumer": ("tasks.consumer:SafeConsumer", "malformed messages are acknowledged, or kill the worker"),
    "task_serializer": ("json", "only JSON is accepted"),
    "task_default_exchange_type": ("topic", "delayed retries would block a worker"),
    "broker_native_delayed_delivery_queue_type": ("quorum", "a delayed retry would be less durable than its lane"),
}
_LANE = {
    "x-queue-type": ("quorum", "a node's loss loses the messages"),
    "x-dead-letter-strategy": ("at-least-once", "a dead letter may be dropped on its way"),
    "x-overflow": ("reject-publish", "a full lane drops its oldest message"),
}


class UnsafeDelivery(SystemExit):
    """The settings allow a message to be lost. A process ends with that sentence: Celery logs any other exception of a
    receiver of its signals, and continues.
    """


def check_delivery(app: Any) -> None:
    """Refuse settings that can lose a message on RabbitMQ. Other transports are for development only.

    Raises:
        UnsafeDelivery: with every reason.
    """
    conf = app.conf
    if not all(_is_ours(app, url) for url in (conf.broker_url, conf.broker_read_url, conf.broker_write_url)):
        raise UnsafeDelivery("BROKER_URL alone names the broker: unset CELERY_BROKER_URL, and leave out --broker")
    if not app.program.settings.on_rabbitmq:
        return
    transport = conf.broker_transport_options or {}
    reasons = [f"{name} must be {wanted!r}: {why}" for name, (wanted, why) in _REQUIRED.items() if conf[name] != wanted]
    if transport.get("confirm_publish") is not True:
        reasons.append("confirm_publish must be on: a publish returns before RabbitMQ has the message")
    if not transport.get("read_timeout"):
        reasons.append("read_timeout must be set: a stalled broker holds a publisher for ever")
    if set(conf.accept_content) != {"json"}:
        reasons.append("accept_content must be ['json']: pickle runs code")
    if conf.result_backend:
        reasons.append("result_backend must be unset: it cannot tell waiting from unknown")
    if not all(_is_certain(route) for route in _routes(app)):
        reasons.append("routes must be mandatory with a confirm_timeout: unroutable messages are confirmed and dropped")
    reasons += [reason for queue in conf.task_queues if queue.name != MAINTENANCE for reason in _lane_reasons(queue)]
    if reasons:
        raise UnsafeDelivery("unsafe delivery settings: " + "; ".join(reasons))


def _is_ours(app: Any, address: str) -> bool:
    """Whether the address, which Celery may have from a variable or an option of its own, is that of our settings."""
    settings = app.program.settings
    if not settings.on_rabbitmq:
        return address.startswith("filesystem:")
    return broker_urls(address) == broker_urls(settings.broker_url)


def _lane_reasons(queue: Any) -> list[str]:
    arguments = queue.queue_arguments or {}
    reasons = [
        f"{queue.name}: {name} must be {wanted}: {why}"
        for name, (wanted, why) in _LANE.items()
        if arguments.get(name) != wanted
    ]
    if not queue.durable or not queue.exchange.durable or queue.exchange.type != "topic":
        reasons.append(f"{queue.name}: queue and exchange must be durable, the exchange of type topic")
    if not arguments.get("x-dead-letter-exchange") or not arguments.get("x-delivery-limit"):
        reasons.append(f"{queue.name}: needs a dead-letter exchange and a delivery limit")
    return reasons


def _routes(app: Any) -> Iterator[Mapping[str, Any]]:
    """The route of each handler's messages; empty for one that no router knows."""
    for name in app.program.registry.queued():
        routes = (router(name) for router in app.conf.task_routes or () if callable(router))
        yield next((route for route in routes if route), {})


def _is_certain(route: Mapping[str, Any]) -> bool:
    return bool(route.get("queue") and route.get("mandatory") and route.get("confirm_timeout"))
