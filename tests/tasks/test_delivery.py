"""Settings under which a message can be lost do not start."""

from __future__ import annotations

from typing import Any

import pytest
from kombu import Exchange, Queue

from tasks.delivery import UnsafeDelivery, check_delivery
from tasks.queue import CeleryQueue
from tests.tasks.conftest import app_on
from tests.worker import WorkerProcess, environment

_NOWHERE = "amqp://guest@nowhere.invalid//"
_DIRECT = Exchange("commands", type="direct")
_BEST_EFFORT = {"confirm_publish": True, "read_timeout": 0}
_UNSAFE: dict[str, tuple[str, Any]] = {
    "an early acknowledgement": ("task_acks_late", False),
    "a killed child's message is acknowledged": ("task_reject_on_worker_lost", False),
    "a failed message is acknowledged": ("task_acks_on_failure", True),
    "a message that ran out of time is acknowledged": ("task_acks_on_timeout", True),
    "a misspelled queue is made": ("task_create_missing_queues", True),
    "Celery's own consumer": ("worker_consumer", "celery.worker.consumer:Consumer"),
    "pickle": ("accept_content", ["json", "pickle"]),
    "pickled tasks": ("task_serializer", "pickle"),
    "a result backend": ("result_backend", "rpc://"),
    "no confirms": ("broker_transport_options", {"read_timeout": 2}),
    "no bound on a stalled broker": ("broker_transport_options", _BEST_EFFORT),
    "no routes": ("task_routes", None),
    "routes that are not mandatory": ("task_routes", (lambda *_: {"queue": "x", "confirm_timeout": 2},)),
    "routes that wait for ever": ("task_routes", (lambda *_: {"queue": "x", "mandatory": True},)),
    "classic delayed delivery": ("broker_native_delayed_delivery_queue_type", "classic"),
}


def test_the_settings_as_they_are_are_safe() -> None:
    check_delivery(app_on(_NOWHERE))


@pytest.mark.parametrize("change", _UNSAFE.values(), ids=_UNSAFE.keys())
def test_an_unsafe_setting_is_refused(change: tuple[str, Any]) -> None:
    app = app_on(_NOWHERE)
    name, value = change
    app.conf[name] = value
    with pytest.raises(UnsafeDelivery):
        check_delivery(app)
    with pytest.raises(UnsafeDelivery):
        CeleryQueue(app)


@pytest.mark.parametrize(
    "missing",
    ["x-queue-type", "x-delivery-limit", "x-dead-letter-exchange", "x-dead-letter-strategy", "x-overflow"],
)
def test_a_lane_without_one_of_its_arguments_is_refused(missing: str) -> None:
    app = app_on(_NOWHERE)
    app.conf.task_queues[0].queue_arguments.pop(missing)
    with pytest.raises(UnsafeDelivery):
        check_delivery(app)


@pytest.mark.parametrize("changes", [{"durable": False}, {"exchange": _DIRECT}], ids=["transient", "direct exchange"])
def test_a_lane_that_does_not_survive_or_cannot_delay_is_refused(changes: dict[str, Any]) -> None:
    app = app_on(_NOWHERE)
    lane = app.conf.task_queues[0]
    given = {"exchange": lane.exchange, "queue_arguments": lane.queue_arguments, **changes}
    app.conf.task_queues = [Queue(lane.name, routing_key=lane.name, **given)]
    with pytest.raises(UnsafeDelivery):
        check_delivery(app)


def test_every_handler_has_a_lane_and_an_unknown_task_has_none() -> None:
    app = app_on(_NOWHERE)
    handlers = app.program.registry.queued()
    routed = {name: app.amqp.router.route({}, name)["queue"].name for name in handlers}
    assert routed == {name: handler.lane for name, handler in handlers.items()}
    with pytest.raises(LookupError):
        app.amqp.router.route({}, "users.no_such_handler")


def test_housekeeping_that_expires_is_no_dead_letter() -> None:
    app = app_on(_NOWHERE)
    lane = app.amqp.router.route({}, "maintenance.sweep_outbox")["queue"]
    assert "x-dead-letter-exchange" not in lane.queue_arguments


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_unsafe_settings_end_the_program(program: str) -> None:
    process = WorkerProcess(environment(BROKER_URL=_NOWHERE), app="tests.tasks.unsafe")
    if program == "beat":
        process.command = ("celery", "-A", "tests.tasks.unsafe", "beat")
    process.start()
    assert process.ended() != 0
    assert "task_acks_late must be True" in process.logs()


@pytest.mark.parametrize("lanes", ["typing-error", "commands,typing-error"])
def test_a_worker_with_an_unknown_lane_does_not_start(lanes: str) -> None:
    process = WorkerProcess(environment(BROKER_URL=_NOWHERE, LANES=lanes))
    process.start()
    assert process.ended() != 0
    assert "LANES must name" in process.logs()
