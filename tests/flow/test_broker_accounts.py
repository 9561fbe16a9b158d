"""deploy/rabbitmq/definitions.json on a real broker: each program's account may do what it needs, and no more."""

from __future__ import annotations

import json
import os
import re
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from amqp import Channel, Message
from amqp.exceptions import AccessRefused
from kombu import Connection

from backend.program import Program as OurProgram
from backend.settings import ROOT
from tasks.lanes import DEAD_LETTERS, conf_of
from tasks.topology import declare_delays, declare_topology
from tests.broker import RabbitMQ
from tests.flow.client import Client
from tests.flow.programs import ApiProcess, beat, free_port
from tests.settings import settings_with
from tests.worker import Program, WorkerProcess, environment, eventually

ACCOUNTS = ("promise", "api", "worker", "beat", "flower")
Urls = dict[str, str]


@pytest.fixture(scope="module")
def urls(private_rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Urls]:
    """The broker's address for each account, on a node that has read the definitions, as one of docker-compose.yml."""
    variables = _variables()
    assert set(variables) == set(ACCOUNTS)
    definitions = _rendered(tmp_path_factory.mktemp("rabbitmq"), {name: _password(name) for name in variables.values()})
    for file in sorted(definitions.iterdir()):
        private_rabbitmq.control("import_definitions", str(file))
    node = urlsplit(private_rabbitmq.url)
    found = {
        name: f"amqp://{name}:{_password(variable)}@{node.hostname}:{node.port}/promise"
        for name, variable in variables.items()
    }
    _declare(found["promise"])
    yield found
    private_rabbitmq.control("delete_vhost", "promise")
    for name in found:
        private_rabbitmq.control("delete_user", name)


def test_every_program_can_do_its_work(urls: Urls, clean_database: str, tmp_path: Path) -> None:
    def settings(account: str) -> dict[str, str]:
        return environment(BROKER_URL=urls[account], DATABASE_URL=clean_database, MAIL_URL=f"file:{tmp_path}/mail")

    worker = WorkerProcess(settings("worker"), "--pool", "prefork", "--concurrency", "1")
    with ApiProcess(settings("api")) as api, worker, beat(settings("beat")):
        body = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}
        assert api.client.post("/api/v1/users", body, Prefer="wait=10").status == 201
        with Connection(urls["promise"]) as connection:
            _publish(connection.default_channel, "commands", "users.hashing")
        with psycopg.connect(clean_database, autocommit=True) as database:  # beat asks, and the worker records it
            eventually(lambda: database.execute("select from dead_letters").rowcount)
        with _flower(urls["flower"], tmp_path) as flower:
            credentials = f"Basic {b64encode(b'a:b').decode()}"
            eventually(lambda: worker.node in flower.get("/workers?json=1", Authorization=credentials).content.decode())
        assert "ACCESS_REFUSED" not in worker.logs() + api.logs()


Deed = Callable[[Channel], object]
FORBIDDEN: dict[tuple[str, str], Deed] = {
    ("api", "read a lane"): lambda channel: channel.basic_get("users.hashing"),
    ("api", "read dead letters"): lambda channel: channel.basic_get(DEAD_LETTERS),
    ("api", "drop a lane"): lambda channel: channel.queue_delete("users.hashing"),
    ("api", "divert messages"): lambda channel: channel.queue_bind("dead-letters", "commands", "#"),
    ("api", "order housekeeping"): lambda channel: _publish(channel, "commands", "maintenance"),
    ("api", "send dead letters"): lambda channel: _publish(channel, "commands.dead", "users.commands"),
    ("api", "declare a lane"): lambda channel: channel.queue_declare("users.other"),
    ("api", "publish past the exchanges"): lambda channel: _publish(channel, "", "users.hashing"),
    ("api", "command workers"): lambda channel: _publish(channel, "celery.pidbox", ""),
    ("worker", "use other queues"): lambda channel: channel.queue_declare("other"),
    ("worker", "publish past the exchanges"): lambda channel: _publish(channel, "", "users.hashing"),
    ("beat", "read what it sends"): lambda channel: channel.basic_get("maintenance"),
    ("beat", "give commands"): lambda channel: _publish(channel, "commands", "users.commands"),
    ("beat", "send events"): lambda channel: _publish(channel, "events", "users.user_registered.v1"),
    ("flower", "give commands"): lambda channel: _publish(channel, "commands", "users.commands"),
    ("flower", "send to a queue"): lambda channel: _publish(channel, "", "users.commands"),
    ("flower", "answer for a worker"): lambda channel: _publish(channel, "reply.celery.pidbox", "x"),
    ("flower", "drop what workers listen to"): lambda channel: channel.queue_delete("worker@host.celery.pidbox"),
    ("flower", "read a lane"): lambda channel: channel.basic_get("users.hashing"),
    ("flower", "read dead letters"): lambda channel: channel.basic_get(DEAD_LETTERS),
    ("flower", "drop a lane"): lambda channel: channel.queue_delete("users.hashing"),
}


@pytest.mark.parametrize(("account", "deed"), FORBIDDEN, ids=[" may not ".join(both) for both in FORBIDDEN])
def test_no_account_can_do_more(urls: Urls, account: str, deed: str) -> None:
    connection = Connection(urls[account], transport_options={"confirm_publish": True})
    with closing(connection), pytest.raises(AccessRefused):
        FORBIDDEN[account, deed](connection.default_channel)


def test_the_exchanges_that_topics_are_granted_on_are_there_before(tmp_path: Path) -> None:
    """RabbitMQ 4.2 and later do not start otherwise."""
    exchanges: set[str] = set()
    for file in sorted(_rendered(tmp_path, dict.fromkeys(_variables().values(), "x")).iterdir()):
        definitions = json.loads(file.read_text())
        assert {granted["exchange"] for granted in definitions.get("topic_permissions", [])} <= exchanges
        exchanges |= {exchange["name"] for exchange in definitions.get("exchanges", [])}
    assert exchanges


def test_the_api_may_ask_whether_each_lane_exists() -> None:
    """RabbitMQ 4.2.6 and later answer only who has some permission on the queue. To write to one is the least:
    it lets nobody publish past the exchanges.
    """
    (api,) = (granted for granted in _definitions()["permissions"] if granted["user"] == "api")
    for lane in conf_of(OurProgram(settings_with()))["task_queues"]:
        assert re.search(api["write"], lane.name)


def test_a_missing_password_is_named_before_the_server_starts(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as ended:
        _rendered(tmp_path, {"RABBITMQ_PASSWORD": "x", "RABBITMQ_API_PASSWORD": "a/b"})
    assert ended.value.stderr == "RABBITMQ_API_PASSWORD must be letters and digits\n"


def _definitions() -> dict[str, Any]:
    return dict(json.loads((ROOT / "deploy/rabbitmq/definitions.json").read_text()))


def _variables() -> dict[str, str]:
    """The variable that holds each account's password."""
    return {user["name"]: user["password"][2:-1] for user in _definitions()["users"]}


def _publish(channel: Channel, exchange: str, routing_key: str) -> None:
    channel.basic_publish_confirm(Message("x"), exchange, routing_key)


def _rendered(directory: Path, passwords: dict[str, str]) -> Path:
    """The directory that docker-compose.yml gives RabbitMQ to read at its start, in the order of its names."""
    (directory / "conf.d").mkdir()
    server = directory / "docker-entrypoint.sh"
    server.write_text('#!/bin/sh\necho "$@"\n')
    server.chmod(0o755)
    started = subprocess.run(
        ("sh", ROOT / "deploy/rabbitmq/start.sh", directory),
        env={"PATH": f"{directory}:{os.environ['PATH']}", **passwords},
        capture_output=True,
        text=True,
        check=True,
    )
    definitions = directory / "definitions"
    assert started.stdout == "rabbitmq-server\n"
    assert (directory / "conf.d/50-definitions.conf").read_text() == f"load_definitions = {definitions}\n"
    assert all(file.stat().st_mode & 0o077 == 0 for file in (definitions, *definitions.iterdir()))
    return definitions


def _password(variable: str) -> str:
    return f"{variable.lower()}Kx93hd7sKq".replace("_", "")


def _declare(url: str) -> None:
    """As the service `migrate` does."""
    lanes = conf_of(OurProgram(settings_with(broker_url=url)))["task_queues"]
    with Connection(url) as connection:
        declare_topology(connection, lanes)
        declare_delays(connection, lanes)


@contextmanager
def _flower(url: str, directory: Path) -> Iterator[Client]:
    """As docker-compose.yml starts it: it knows the broker, and not the program."""
    port = free_port()
    settings = {**environment(), "CELERY_BROKER_URL": url, "FLOWER_BASIC_AUTH": "a:b"}
    arguments = ("flower", "--address=127.0.0.1", f"--port={port}", "--read_only", "--logging=warning")
    with Program("flower", "celery", *arguments, environment=settings, directory=directory) as flower:
        client = Client(f"http://127.0.0.1:{port}")
        eventually(lambda: _is_up(client))
        yield client
        assert "ACCESS_REFUSED" not in flower.logs()


def _is_up(client: Client) -> bool:
    try:
        return client.get("/healthcheck").status == 200
    except OSError:
        return False
