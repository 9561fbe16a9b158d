"""Broker, lanes, routes and schedule, from a program's settings and contexts.

A lane is a durable quorum queue for one kind of work of one context. The exchange is a topic exchange: only then
RabbitMQ itself keeps delayed retries. On a direct exchange they would block the worker that holds them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kombu import Exchange, Queue

from backend.kernel.messages.registry import Kind, Registry
from backend.program import Program
from backend.settings import VAR

COMMANDS = "commands"
"""The exchange that routes to every lane."""
DEAD_LETTERS = "dead-letters"
MAINTENANCE = Kind.MAINTENANCE
_POLLING_SECONDS = 0.02
"""For the embedded broker: with the default of a second, a waiting client would wait as long."""

_LANE_ARGUMENTS = {
    "x-queue-type": "quorum",  # replicated, on disk before it is confirmed, and counts redeliveries
    "x-delivery-limit": 5,  # a message that kills its worker is dead-lettered, not redelivered for ever
    "x-dead-letter-exchange": f"{COMMANDS}.dead",  # rejected messages are kept
    "x-dead-letter-strategy": "at-least-once",  # and their move to the dead letters is confirmed
    "x-overflow": "reject-publish",  # required by the strategy: a full queue refuses new messages
}
_BOUND = {"x-max-length": 20_000}
"""The bound of a lane of anonymous work: nothing bounds its senders, so the lane does."""
# Housekeeping is repeated on schedule, so a lost message costs nothing. With a dead-letter exchange each
# sweep that expires while no worker runs would become a dead letter.
_MAINTENANCE_ARGUMENTS = {"x-queue-type": "quorum", "x-delivery-limit": 5}


def conf_of(program: Program) -> dict[str, Any]:
    """Celery's settings that follow from the program."""
    return {
        **_broker(program),
        "task_queues": _queues(program),
        "task_default_queue": MAINTENANCE.value,
        "task_default_routing_key": MAINTENANCE.value,
        "task_default_exchange": COMMANDS,
        "task_routes": (_router(program.registry),),
        "beat_scheduler": "celery.beat:Scheduler",  # the default one needs a file, and ends when the disk is full
        # A sweep that could not run in time is not repeated: the next one does its work.
        "beat_schedule": {
            "sweep the outbox": _every(2, "maintenance.sweep_outbox", expires=10),
            "record dead letters": _every(2, "maintenance.record_dead_letters", expires=10),
            "purge what is past its retention": _every(3600, "maintenance.purge", expires=600),
        },
    }


def lanes_of(registry: Registry) -> dict[str, Kind]:
    """Every lane, with the kind of its work."""
    return {**{lane: handler.kind for lane, handler in registry.lanes().items()}, MAINTENANCE.value: MAINTENANCE}


def _broker(program: Program) -> dict[str, Any]:
    if program.settings.on_rabbitmq:
        return {
            "broker_url": program.settings.broker_url,
            "broker_use_ssl": {"ca_certs": authority} if (authority := program.settings.broker_ca_file) else False,
            "broker_transport_options": {
                "confirm_publish": True,  # without it a publish returns before RabbitMQ has the message
                "read_timeout": 2,  # the only bound for a broker that stalls or is blocked by a memory alarm
                "write_timeout": 2,
            },
        }
    files = VAR / "broker"
    return {
        "broker_url": "filesystem://localhost",  # kombu warns of one without a host
        "broker_transport": "tasks.embedded_broker:Transport",  # kombu's own loses messages between processes
        "broker_transport_options": {
            "data_folder_in": str(files / "messages"),
            "data_folder_out": str(files / "messages"),
            "processed_folder": str(files / "processed"),
            "control_folder": str(files / "control"),
            "polling_interval": _POLLING_SECONDS,
        },
    }


def _queues(program: Program) -> list[Queue]:
    """The arguments are part of a queue: RabbitMQ refuses to declare an existing one with others."""
    lanes = {
        lane: {**_LANE_ARGUMENTS, **(_BOUND if handler.anonymous else {})}
        for lane, handler in program.registry.lanes().items()
    }
    lanes[MAINTENANCE.value] = dict(_MAINTENANCE_ARGUMENTS)
    exchange = Exchange(COMMANDS, type="topic", durable=True)
    return [
        Queue(lane, exchange, routing_key=lane, queue_arguments=arguments if program.settings.on_rabbitmq else None)
        for lane, arguments in lanes.items()
    ]


def _router(registry: Registry) -> Callable[..., dict[str, Any]]:
    lanes = {name: handler.lane for name, handler in registry.queued().items()}

    def route(name: str, *_: Any, **__: Any) -> dict[str, Any]:
        if name not in lanes and not name.startswith("maintenance."):
            raise LookupError(f"no lane for {name}")  # workers of a default lane would not know the task
        # `mandatory`: RabbitMQ confirms what it cannot route, and drops it. `confirm_timeout`: it may never confirm.
        return {"queue": lanes.get(name, MAINTENANCE.value), "mandatory": True, "confirm_timeout": 2}

    return route


def _every(seconds: float, task: str, *, expires: int) -> dict[str, Any]:
    return {"task": task, "schedule": float(seconds), "options": {"expires": expires}}
