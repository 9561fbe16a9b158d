"""Celery's settings that do not depend on the program: safe delivery, and workers.

Each comment names the failure that its option prevents. Broker, lanes, routes and schedule follow from the program's
settings and contexts: `tasks/lanes.py`. `tasks/delivery.py` refuses to start with settings that can lose a message.
"""

from __future__ import annotations

# Where messages travel.
broker_connection_timeout = 2  # a host that swallows packets must not hold a publisher for minutes
broker_connection_retry_on_startup = True  # a worker that starts before RabbitMQ waits for it
broker_connection_max_retries = None  # and never stops waiting
broker_heartbeat = 10  # seconds: a consumer whose node is gone without a word must notice
broker_pool_limit = 16  # a connection per publish would cost more than the publish
broker_pool_acquire_timeout = 2  # by default it waits for ever for a free connection
task_default_exchange_type = "topic"
task_default_queue_type = "quorum"
task_create_missing_queues = False  # a misspelled queue must raise, not create a queue that nobody consumes
broker_native_delayed_delivery_queue_type = "quorum"  # a delayed retry is as durable as its lane
task_publish_retry_policy = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}

# What a message may be.
accept_content = ["json"]  # pickle runs code
task_serializer = "json"
event_serializer = "json"

# When a message counts as done.
task_acks_late = True  # an early ack loses what a killed worker had begun
task_reject_on_worker_lost = True  # as above, for a killed child
task_acks_on_failure = False  # a failed message goes to the dead letters
task_acks_on_timeout = False  # as does one that ran out of time
task_soft_time_limit = 60  # seconds; prefork only
task_time_limit = 90
task_ignore_result = True  # outcomes are in PostgreSQL, in the transaction of their effect
result_backend = None

# Workers.
worker_prefetch_multiplier = 1  # a prefetched message would wait behind the current one
worker_detect_quorum_queues = True  # quorum queues support no global prefetch
worker_cancel_long_running_tasks_on_connection_loss = True  # its message is redelivered: do not process it twice
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
