"""An operator's policy may lose messages: a worker warns of it at its start."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection
from structlog.testing import capture_logs

from backend.program import Program
from tasks.lanes import DEAD_LETTERS, conf_of
from tasks.policies import queues_at, warn_of_policies
from tasks.topology import declare_topology
from tests.broker import RabbitMQ, is_installed
from tests.settings import settings_with
from tests.worker import eventually

_POLICIES = {
    "users.hashing": '{"message-ttl": 60000}',
    "users.commands": '{"expires": 600000}',
    "notifications.mail": '{"max-length": 10}',  # the lane itself says that it refuses what is too much
    DEAD_LETTERS: '{"max-length": 10}',
    "of-another-program": '{"message-ttl": 60000}',
}
_OURS = ("users.", "notifications.", DEAD_LETTERS)


@pytest.fixture(scope="module")
def node() -> Iterator[RabbitMQ]:
    if not is_installed():
        pytest.skip("no rabbitmq-server is installed")
    directory = Path(tempfile.mkdtemp(prefix="promise-rabbitmq-"))
    node = RabbitMQ(directory, management=True)
    try:
        node.start()
        yield node
    finally:
        node.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def url(node: RabbitMQ) -> Iterator[str]:
    """A virtual host with every queue of the program."""
    with node.vhost() as url:
        with Connection(url) as connection:
            declare_topology(connection, conf_of(Program(settings_with(broker_url=url)))["task_queues"])
        yield url


@pytest.mark.rabbitmq
def test_a_worker_warns_of_policies_that_lose_messages(node: RabbitMQ, url: str) -> None:
    vhost = url.rpartition("/")[2]
    with Connection(url) as connection, connection.channel() as channel:
        quorum = {"x-queue-type": "quorum"}
        channel.queue_declare("of-another-program", durable=True, auto_delete=False, arguments=quorum)
    for queue, definition in _POLICIES.items():
        node.control("set_policy", "-p", vhost, queue, f"^{queue}$", definition)
    eventually(lambda: {one["policy"] for one in queues_at(node.management_url, vhost)} >= set(_POLICIES))

    with capture_logs() as said:
        warn_of_policies(settings_with(broker_url=url, broker_management_url=node.management_url), _OURS)
    assert {(line["queue"], line["policy"], line["reason"].partition(":")[0]) for line in said} == {
        ("users.hashing", "users.hashing", "message-ttl"),
        ("users.commands", "users.commands", "expires"),
        (DEAD_LETTERS, DEAD_LETTERS, "max-length"),
    }


def test_a_worker_says_that_it_could_not_look_and_goes_on() -> None:
    settings = settings_with(broker_url="amqp://u:p@127.0.0.1/", broker_management_url="http://u:p@127.0.0.1:9")
    with capture_logs() as said:
        warn_of_policies(settings, _OURS)
    assert [line["event"] for line in said] == ["policies of RabbitMQ not checked"]
