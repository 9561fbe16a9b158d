"""Celery's settings: broker, lanes, routes, delivery safety, beat.

Each comment names the failure that its option prevents. `tasks/delivery.py` refuses to start on a combination
that could lose a message.
"""

from __future__ import annotations

from typing import Any

from kombu import Exchange, Queue

from backend.program import HANDLERS
from backend.settings import VAR, load_settings

_settings = load_settings()
_rabbitmq = _settings.on_rabbitmq
_broker_files = VAR / "broker"

COMMANDS = "commands"
DEAD_LETTERS = "dead-letters"
MAINTENANCE = "maintenance"

# Where messages travel.
broker_url = _settings.broker_url if _rabbitmq else "filesystem://localhost"  # kombu warns of one without a host
broker_connection_timeout = 2  # a host that swallows packets must not hold a publisher for minutes
broker_connection_retry_on_startup = True  # a worker that starts before RabbitMQ waits for it
broker_connection_max_retries = None  # and never stops waiting
broker_heartbeat = 60  # a consumer whose cable was cut must notice
broker_pool_limit = 16  # a connection per publish would cost more than the publish
broker_pool_acquire_timeout = 2  # the default waits for ever for a free connection
if _rabbitmq:
    broker_transport_options: dict[str, Any] = {
        "confirm_publish": True,  # without it a publish returns before RabbitMQ has the message
        "read_timeout": 2,  # the only bound on a broker that stalls or is blocked by a memory alarm
        "write_timeout": 2,
    }
else:
    broker_transport = "tasks.embedded_broker:Transport"  # kombu's own loses messages between processes
    for _name in ("messages", "processed", "control"):
        (_broker_files / _name).mkdir(parents=True, exist_ok=True)
    broker_transport_options = {
        "data_folder_in": str(_broker_files / "messages"),
        "data_folder_out": str(_broker_files / "messages"),
        "processed_folder": str(_broker_files / "processed"),
        "control_folder": str(_broker_files / "control"),
        "polling_interval": 0.02,  # the default of a second is what a waiting client would wait
    }

# The lanes: one durable quorum queue per context and kind of work. Topic, because only then RabbitMQ
# itself keeps delayed retries; on a direct exchange they would block the worker that holds them.
_exchange = Exchange(COMMANDS, type="topic", durable=True)
_lane_arguments = {
    "x-queue-type": "quorum",  # replicated, on disk before it is confirmed, and counts redeliveries
    "x-delivery-limit": 5,  # a message that kills its worker ends in the dead letters, not in a loop
    "x-dead-letter-exchange": f"{COMMANDS}.dead",  # what is rejected is kept
    "x-dead-letter-strategy": "at-least-once",  # and the move to the dead letters is confirmed
    "x-overflow": "reject-publish",  # needed by the strategy: a full queue refuses instead of dropping the oldest
}
# Housekeeping is repeated on schedule, so a lost message costs nothing. With a dead-letter exchange each
# sweep that expires while no worker runs would become a dead letter.
_housekeeping_arguments = {"x-queue-type": "quorum", "x-delivery-limit": 5}
LANES = (*sorted({handler.queue for handler in HANDLERS.values()}), MAINTENANCE)


def _queue(lane: str) -> Queue:
    arguments = _housekeeping_arguments if lane == MAINTENANCE else _lane_arguments
    return Queue(lane, _exchange, routing_key=lane, durable=True, queue_arguments=arguments if _rabbitmq else None)


task_queues = [_queue(lane) for lane in LANES]
task_default_queue = task_default_routing_key = MAINTENANCE
task_default_exchange = COMMANDS
task_default_exchange_type = "topic"
task_default_queue_type = "quorum"
task_create_missing_queues = False  # a typing error in a queue's name must raise, not make a queue nobody reads
broker_native_delayed_delivery_queue_type = "quorum"  # a delayed retry is as durable as its lane


def _route(name: str, *_: Any, **__: Any) -> dict[str, Any]:
    if name not in HANDLERS and not name.startswith("maintenance."):
        raise LookupError(f"no lane for {name}")  # a default lane would be one whose workers do not know the task
    queue = HANDLERS[name].queue if name in HANDLERS else MAINTENANCE
    return {"queue": queue, "mandatory": True, "confirm_timeout": 2}


# `mandatory`: RabbitMQ confirms what it cannot route, and drops it. `confirm_timeout`: a confirm may never come.
task_routes = (_route,)
task_publish_retry_policy = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}

# What a message may be.
accept_content = ["json"]  # pickle runs code
task_serializer = "json"
event_serializer = "json"

# When a message counts as done.
task_acks_late = True  # an early ack loses what a killed worker had begun
task_reject_on_worker_lost = True  # likewise for a killed child
task_acks_on_failure = False  # a failed message goes to the dead letters
task_acks_on_timeout = False  # likewise for one that ran out of time
task_soft_time_limit = 60  # seconds; prefork only
task_time_limit = 90
task_ignore_result = True  # outcomes are in PostgreSQL, in the transaction of their effect
result_backend = None

# Workers.
worker_prefetch_multiplier = 1  # a prefetched message waits behind the one at work
worker_detect_quorum_queues = True  # quorum queues know no global prefetch
worker_cancel_long_running_tasks_on_connection_loss = True  # its message is delivered again: do not do it twice over
worker_max_tasks_per_child = 10_000  # a leak must not grow for ever
worker_consumer = "tasks.consumer:SafeConsumer"
worker_send_task_events = True  # Flower
task_send_sent_event = False  # would double the cost of a publish
worker_hijack_root_logger = False
worker_redirect_stdouts = False
control_queue_exclusive = event_queue_exclusive = True  # RabbitMQ 4.3 refuses other transient queues
worker_enable_remote_control = True
enable_utc = True
timezone = "UTC"

# Beat. A sweep that could not run in time is not caught up with: the next one does its work.
beat_schedule_filename = str(VAR / "celerybeat-schedule")
beat_schedule = {
    "sweep the outbox": {"task": "maintenance.sweep_outbox", "schedule": 2.0, "options": {"expires": 10}},
    "record dead letters": {
        "task": "maintenance.record_dead_letters",
        "schedule": 2.0,
        "options": {"expires": 10},
    },
    "purge what is past its retention": {"task": "maintenance.purge", "schedule": 3600.0, "options": {"expires": 600}},
}
