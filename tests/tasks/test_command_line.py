"""What operators write on Celery's command line is honoured, or refused with a sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kombu import Exchange, Queue

from backend.settings import ROOT
from tasks.lanes import _LANE_ARGUMENTS, COMMANDS
from tests.broker import RabbitMQ
from tests.tasks.conftest import Broker
from tests.worker import PATIENCE, WorkerProcess, environment, eventually

_CELERY = Path(sys.executable).with_name("celery")
_NOBODY_THERE = "amqp://127.0.0.1:1/"


@pytest.fixture
def own_broker(private_rabbitmq: RabbitMQ) -> Iterator[Broker]:
    """One whose lanes no other worker consumes."""
    with private_rabbitmq.vhost() as url, closing(Broker(url)) as broker:
        yield broker


@pytest.mark.parametrize("option", [("-Q", "sample.commands"), ("-X", "maintenance")])
def test_a_worker_may_be_told_its_queues_by_celerys_own_options(
    own_broker: Broker, tmp_path: Path, option: tuple[str, str]
) -> None:
    with _worker(tmp_path, own_broker.url, *option):
        eventually(lambda: _consumers(own_broker, "sample.commands"))
        assert not _consumers(own_broker, "maintenance")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--autoscale", "4,1"), "--concurrency"),
        (("--purge",), "accepted commands"),
        (("--time-limit", "5"), "limit="),
        (("--soft-time-limit", "5"), "limit="),
        (("--pool-start-method", "spawn"), "fork"),
        (("-Q", "sample.commands,nobodys"), "nobodys"),
        (("-X", "nobodys"), "nobodys"),
        (("-X", "sample.commands,sample.mail,maintenance"), "-X leaves no queue"),
    ],
)
def test_a_worker_refuses_options_that_would_be_ignored_or_lose_messages(options: tuple[str, ...], said: str) -> None:
    _refuses(said, *options)


def test_a_worker_refuses_to_be_told_its_queues_in_two_ways() -> None:
    _refuses("LANES and the options -Q", "-Q", "sample.commands", LANES="commands")


@pytest.mark.parametrize("port", ["x", "0", "65536"])
def test_a_worker_refuses_a_port_that_is_none(port: str) -> None:
    _refuses("HEALTH_PORT must be 1 to 65535", HEALTH_PORT=port)


def test_a_worker_refuses_a_pool_on_which_the_program_was_not_tried() -> None:
    _refuses("prefork", "-P", "custom", CELERY_CUSTOM_WORKER_POOL="celery.concurrency.gevent:TaskPool")


def test_a_worker_refuses_a_queue_of_a_context_that_it_does_not_serve() -> None:
    _refuses("CONTEXTS", "-Q", "users.commands", app="tasks.app", CONTEXTS="-users")


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        ((_CELERY, "-A", "tasks.app", "--broker", "amqp://127.0.0.1:2/", "worker"), {}),
        ((_CELERY, "-A", "tasks.app", "--broker", "amqp://127.0.0.1:2/", "beat"), {}),
        ((_CELERY, "-A", "tasks.app", "worker"), {"CELERY_BROKER_READ_URL": "amqp://127.0.0.1:2/"}),
        ((sys.executable, "-c", "import wsgi"), {"CELERY_BROKER_URL": "amqp://127.0.0.1:2/"}),
        ((sys.executable, "-c", "import wsgi"), {"CELERY_BROKER_URL": "amqp://127.0.0.1:2/", "BROKER_URL": ""}),
    ],
    ids=["option of a worker", "option of beat", "variable of a worker", "of the API", "without RabbitMQ"],
)
def test_every_process_refuses_another_broker_than_that_of_its_settings(
    command: tuple[str, ...], variables: dict[str, str]
) -> None:
    settings = environment(**{"BROKER_URL": _NOBODY_THERE, **variables})
    run = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert run.returncode != 0
    assert "BROKER_URL alone" in run.stderr
    assert "Traceback" not in run.stderr


def test_an_address_may_be_written_loosely() -> None:
    """Celery's program takes it from BROKER_URL as it is written there."""
    _refuses("-X leaves no queue", "-X", "sample.commands,sample.mail,maintenance", BROKER_URL=f" {_NOBODY_THERE} ; ")


def test_a_worker_whose_pool_cannot_end_a_handler_says_so(own_broker: Broker, tmp_path: Path) -> None:
    with _worker(tmp_path, own_broker.url, "-P", "solo") as worker:
        worker.await_log("only the pool prefork ends a handler at its time limit")


@pytest.mark.parametrize(
    "command",
    [
        ("purge", "-f"),
        ("purge", "-f", "-Q", "sample.commands"),
        ("amqp", "queue.purge", "sample.commands"),
        ("amqp", "queue.delete", "sample.commands"),
        ("amqp", "basic.get", "sample.commands", "true"),
        ("migrate", "--ack-messages", "{url}", "{url}"),
    ],
    ids=" ".join,
)
def test_no_command_of_celery_removes_what_lies_in_a_lane(own_broker: Broker, command: tuple[str, ...]) -> None:
    Queue("sample.commands", Exchange(COMMANDS, type="topic"), "sample.commands", queue_arguments=_LANE_ARGUMENTS)(
        own_broker.channel
    ).declare()
    own_broker.task()
    run = _celery(own_broker, *(word.format(url=own_broker.url) for word in command))
    assert run.returncode != 0
    assert "accepted commands" in run.stderr
    assert "Traceback" not in run.stderr
    assert own_broker.waiting_in("sample.commands") == 1


def test_commands_that_only_ask_work(own_broker: Broker) -> None:
    assert "software" in _celery(own_broker, "report").stdout


def _refuses(said: str, *options: str, app: str = "tests.tasks.sample", **variables: str) -> None:
    settings = environment(**{"BROKER_URL": _NOBODY_THERE, **variables})
    worker = WorkerProcess(settings, *options, app=app)
    try:
        worker.start()
        assert worker.ended() != 0
    finally:
        worker.teardown()
    assert said in worker.logs()
    assert "Traceback" not in worker.logs()


def _worker(directory: Path, broker_url: str, *options: str) -> WorkerProcess:
    settings = environment(BROKER_URL=broker_url, SAMPLE_DIRECTORY=str(directory))
    return WorkerProcess(settings, "-c", "1", *options, app="tests.tasks.sample")


def _celery(broker: Broker, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (_CELERY, "-A", "tests.tasks.sample", *arguments),
        cwd=ROOT,
        env=environment(BROKER_URL=broker.url),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _consumers(broker: Broker, queue: str) -> int:
    consumers: int = broker.channel.queue_declare(queue, passive=True).consumer_count
    return consumers
