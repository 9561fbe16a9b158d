"""What becomes of a message: done, sent again with a delay, or a dead letter; and who may read what of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_celery import CeleryTestSetup

from tests.broker import RabbitMQ
from tests.tasks.conftest import Broker, app_on
from tests.worker import PATIENCE, WorkerProcess, environment, eventually

_CANARY = "a-value-nobody" + "-may-read"


class Events:
    """What Flower would see."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._queue = broker.channel.queue_declare(exclusive=True, auto_delete=False).queue
        broker.channel.queue_bind(self._queue, "celeryev", "#")
        self.seen: list[dict[str, Any]] = []

    def until(self, kind: str, task_id: str) -> None:
        """Wait for that event."""
        while not any(event["type"] == kind and event.get("uuid") == task_id for event in self.seen):
            body = json.loads(self._broker.next_in(self._queue).body)
            self.seen += body if isinstance(body, list) else [body]


@pytest.fixture
def events(sample_worker: WorkerProcess, broker: Broker) -> Events:
    return Events(broker)


def test_a_fault_is_tried_again_later_and_then_a_dead_letter_with_its_context(
    broker: Broker, sample_worker: WorkerProcess
) -> None:
    task_id = broker.task(do="fail", canary=_CANARY)
    dead = broker.next_in("dead-letters").properties["application_headers"]
    assert (dead["id"], dead["retries"]) == (task_id, 1)
    assert {**dead["envelope"], "mac": "…"} == {"request_id": "r1", "attempts": 1, "mac": "…"}
    sample_worker.await_log(f"gave up {task_id}")  # what it says may reach the test after its message
    assert _lines(sample_worker, task_id) == ["received", "received", "gave up"]


def test_a_value_in_an_exception_reaches_neither_log_nor_flower(
    broker: Broker, sample_worker: WorkerProcess, events: Events
) -> None:
    failed = broker.task(do="fail", canary="sealed:" + _CANARY)
    events.until("task-retried", failed)
    events.until("task-failed", failed)
    undecodable = broker.task(do="be undecodable", canary="sealed:" + _CANARY)
    events.until("task-retried", undecodable)  # the database was away when its failure was to be recorded
    events.until("task-failed", undecodable)
    away = broker.task(do="find no database once", canary="sealed:" + _CANARY)
    events.until("task-succeeded", away)
    for _ in range(2):
        broker.next_in("dead-letters")
    assert _CANARY not in json.dumps(events.seen)
    assert _CANARY not in sample_worker.logs()


def test_what_cannot_be_decoded_is_not_tried_again(broker: Broker, sample_worker: WorkerProcess) -> None:
    task_id = broker.task(do="be undecodable")
    sample_worker.await_log(f"gave up {task_id}")  # at the second try: the database was away at the first
    assert _id(broker.next_in("dead-letters")) == task_id
    assert _lines(sample_worker, task_id) == ["received", "received", "gave up"]


def test_a_database_that_is_away_is_waited_for(broker: Broker, sample_worker: WorkerProcess) -> None:
    task_id = broker.task(do="find no database once")
    sample_worker.await_log(f"done {task_id}")
    assert _lines(sample_worker, task_id) == ["received", "received", "done"]


def test_a_message_that_proves_no_author_yet_is_tried_again_and_noted_for_no_operation(
    broker: Broker, sample_worker: WorkerProcess
) -> None:
    since, task_id = sample_worker.mark(), broker.task(do="have no key once")
    sample_worker.await_log(f"done {task_id}", since)
    assert f"noted: {task_id}" not in sample_worker.logs()


def test_a_statement_that_is_always_too_slow_is_not_tried_for_ever(
    broker: Broker, sample_worker: WorkerProcess
) -> None:
    """A busy server is waited for, some minutes long."""
    task_id = broker.task(do="be too slow", timeouts=28)
    dead = broker.next_in("dead-letters").properties["application_headers"]
    assert (dead["id"], dead["envelope"]["timeouts"]) == (task_id, 29)
    sample_worker.await_log(f"gave up {task_id}")  # what it says may reach the test after its message
    assert _lines(sample_worker, task_id) == ["received", "received", "gave up"]


def test_a_message_that_can_neither_be_carried_out_nor_delayed_is_held_and_costs_no_delivery(
    private_rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """RabbitMQ counts what is handed back, and takes a message that comes back too often for one that kills."""
    with private_rabbitmq.vhost() as url:
        settings = environment(BROKER_URL=url, SAMPLE_DIRECTORY=str(tmp_path))
        with WorkerProcess(settings, "-P", "prefork", "-c", "1", app="tests.tasks.sample") as worker:
            broker = Broker(url)
            task_id = broker.task(do="find no database when told")
            worker.await_log(f"waits {task_id}")
            with private_rabbitmq.alarmed():
                (tmp_path / f"go on {task_id}").touch()
                worker.await_log(f"done {task_id}")
            broker.close()
        assert _lines(worker, task_id) == ["received", "waits", "received", "done"]
        assert "requeue=True" not in worker.logs()


@pytest.mark.parametrize("deed", ["run out of memory", "exit"])
def test_a_fault_that_would_end_the_process_does_not(broker: Broker, sample_worker: WorkerProcess, deed: str) -> None:
    task_id = broker.task(do=deed)
    assert _id(broker.next_in("dead-letters")) == task_id
    sample_worker.await_log(f"gave up {task_id}")  # what it says may reach the test after its message
    assert _lines(sample_worker, task_id) == ["received", "received", "gave up"]
    after = broker.task(do="succeed")
    sample_worker.await_log(f"done {after}")


def test_a_message_that_kills_its_process_is_a_dead_letter_in_the_end(
    broker: Broker, sample_worker: WorkerProcess
) -> None:
    task_id = broker.task(do="kill the process")
    dead = broker.next_in("dead-letters")
    assert _id(dead) == task_id
    assert dead.properties["application_headers"]["x-first-death-reason"] == "delivery_limit"
    after = broker.task(do="succeed")
    sample_worker.await_log(f"done {after}")


def test_a_message_whose_worker_is_killed_is_carried_out_by_the_next(
    broker: Broker, sample_worker: WorkerProcess, celery_setup: CeleryTestSetup
) -> None:
    task_id = broker.task(do="hang once", secret="sealed:" + _CANARY)
    sample_worker.await_log(f"hangs {task_id}")
    celery_setup.worker.kill()
    celery_setup.worker.restart()
    sample_worker.await_log(f"done {task_id}")


def test_a_task_at_work_shows_its_sealed_fields_to_no_operator(broker: Broker, sample_worker: WorkerProcess) -> None:
    sent = broker.task(do="hang once", secret="sealed:" + _CANARY)
    sample_worker.await_log(f"received {sent}")
    inspect = app_on(broker.url).control.inspect([sample_worker.node], timeout=PATIENCE, limit=1)
    (at_work,) = eventually(lambda: (inspect.active() or {}).get(sample_worker.node))
    sample_worker.kill()
    assert at_work["id"] == sent
    assert _CANARY not in json.dumps(at_work)


def test_housekeeping_reaches_the_bus(broker: Broker, sample_worker: WorkerProcess) -> None:
    broker.task("maintenance.sweep_outbox", "maintenance")
    sample_worker.await_log("swept")


@pytest.mark.parametrize(
    ("task", "body"),
    [
        (("sample.work", "sample.commands"), {"do": "succeed"}),
        (("maintenance.sweep_outbox", "maintenance"), {}),
    ],
)
def test_what_a_worker_says_after_a_message_does_not_name_that_message(
    broker: Broker,
    sample_worker: WorkerProcess,
    tmp_path: Path,
    task: tuple[str, str],
    body: dict[str, Any],
) -> None:
    """With the solo pool, the worker's main process processes the messages."""
    sample_worker.terminate()
    settings = environment(BROKER_URL=broker.url, SAMPLE_DIRECTORY=str(tmp_path))
    with WorkerProcess(settings, "-P", "solo", app="tests.tasks.sample") as worker:
        broker.task(*task, **body)
        worker.await_log("done" if body else "swept")
        broker.task("sample.unknown")
        line = json.loads(worker.await_log("message dead-lettered"))
        worker.terminate()
    assert not {"request_id", "operation_id"} & line.keys()


@pytest.fixture
def mail_worker(rabbitmq_url: str, tmp_path: Path) -> Iterator[WorkerProcess]:
    settings = environment(BROKER_URL=rabbitmq_url, SAMPLE_DIRECTORY=str(tmp_path), LANES="mail, maintenance")
    with WorkerProcess(settings, "-P", "threads", "-c", "2", app="tests.tasks.sample") as worker:
        yield worker


def test_a_worker_consumes_the_lanes_it_was_given_and_no_others(
    broker: Broker, sample_worker: WorkerProcess, mail_worker: WorkerProcess
) -> None:
    sample_worker.terminate()
    command = broker.task(do="succeed")
    mail = broker.task("sample.write", "sample.mail", do="succeed")
    mail_worker.await_log(f"done {mail}")
    mail_worker.terminate()
    assert command not in mail_worker.logs()
    assert broker.waiting_in("sample.commands") == 1


def _id(message: Any) -> str:
    return str(message.properties["application_headers"]["id"])


def _lines(worker: WorkerProcess, task_id: str) -> list[str]:
    """What the sample's bus said of that message, in order."""
    ending = f" {task_id}\n"
    lines = worker.logs().splitlines(keepends=True)
    return [line.removesuffix(ending) for line in lines if line.endswith(ending) and not line.startswith("{")]
