"""A password or a permission changes while the program runs: nothing is lost."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from kombu import Connection
from psycopg.conninfo import make_conninfo

from tests.broker import RabbitMQ
from tests.flow.client import Answer, Client
from tests.flow.programs import ApiProcess, beat
from tests.postgres import Postgres, migrate
from tests.worker import WorkerProcess, environment, eventually

REFUSED = "refuses the account or the password"
OF_THE_NEXT = "New connections would fail: "
POOL = ("--pool", "prefork", "--concurrency", "1")


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A PostgreSQL that asks the role `app` for its password."""
    # Not below pytest's own directory, which PostgreSQL's user cannot enter.
    directory = Path(tempfile.mkdtemp(prefix="promise-passwords-"))
    directory.chmod(0o755)
    server = Postgres(directory / "data")
    migrate(server.url)
    rules = directory / "data/pg_hba.conf"
    rules.write_text(f"local all app scram-sha-256\n{rules.read_text()}")
    _as_operator(server, "create role app superuser login password 'old'", "select pg_reload_conf()")
    yield server
    server.stop()
    shutil.rmtree(directory)


def test_a_changed_password_of_the_database_is_named_and_loses_nothing(server: Postgres, rabbitmq_url: str) -> None:
    def settings(password: str) -> dict[str, str]:
        url = make_conninfo(server.url, user="app", password=password)
        return environment(BROKER_URL=rabbitmq_url, DATABASE_URL=url)

    with ApiProcess(settings("old")) as old, WorkerProcess(settings("old"), *POOL):
        assert old.client.outcome(_register(old.client))["status"] == "succeeded"
        _as_operator(server, "alter role app password 'new'")
        ready = old.client.get("/health/ready")
        assert (ready.status, ready.body["database"]) == (200, "up")
        assert ready.body["reason"] == f"{OF_THE_NEXT}PostgreSQL {REFUSED}; see DATABASE_URL"
        assert old.client.outcome(_register(old.client))["status"] == "succeeded"  # the pools go on

        _as_operator(server, "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
        accepted = _register(old.client)
        ready = eventually(lambda: _with(old.client, database="down"))
        assert ready["reason"] == f"PostgreSQL {REFUSED}; see DATABASE_URL"
        with ApiProcess(settings("new")) as new, WorkerProcess(settings("new"), *POOL):
            assert new.client.outcome(accepted)["status"] == "succeeded"
            assert new.client.get("/health/ready").body["status"] == "ok"


def test_a_changed_password_of_the_broker_is_named_and_loses_nothing(
    private_rabbitmq: RabbitMQ, clean_database: str
) -> None:
    def settings(password: str) -> dict[str, str]:
        return environment(BROKER_URL=url.replace("guest:guest", f"app:{password}"), DATABASE_URL=clean_database)

    with private_rabbitmq.vhost() as url:
        vhost = urlsplit(url).path[1:]
        private_rabbitmq.control("add_user", "app", "old")
        private_rabbitmq.control("set_permissions", "-p", vhost, "app", ".*", ".*", ".*")
        worker = WorkerProcess(settings("old"), *POOL)
        with ApiProcess(settings("old")) as api, worker, beat(settings("old")):
            assert api.client.outcome(_register(api.client))["status"] == "succeeded"
            private_rabbitmq.control("change_password", "app", "new")
            ready = api.client.get("/health/ready")
            assert ready.status == 200
            assert ready.body["reason"].endswith(f"RabbitMQ {REFUSED}; see BROKER_URL")
            assert api.client.outcome(_register(api.client))["status"] == "succeeded"  # its connections go on

            private_rabbitmq.control("close_all_connections", "-p", vhost, "the password changed")
            accepted = _register(api.client)
            ready = eventually(lambda: _with(api.client, broker="down"))
            assert ready["reason"] == f"RabbitMQ {REFUSED}; see BROKER_URL"
            worker.await_log(f"RabbitMQ {REFUSED}")
            with WorkerProcess(settings("new"), *POOL), beat(settings("new")):
                assert api.client.outcome(accepted)["status"] == "succeeded"
            mark = worker.mark()
            private_rabbitmq.control("change_password", "app", "old")
            worker.await_log("Connected to", mark)  # it has not ended
        private_rabbitmq.control("delete_user", "app")


@pytest.mark.parametrize("left", [("^$", "^$", "^$"), (".*", ".*", "^$")], ids=["none", "no reading"])
def test_permissions_that_a_worker_gets_back_lose_nothing(
    private_rabbitmq: RabbitMQ, clean_database: str, left: tuple[str, ...]
) -> None:
    with private_rabbitmq.vhost() as url:
        vhost = urlsplit(url).path[1:]
        permit = ("set_permissions", "-p", vhost, "worker")
        private_rabbitmq.control("add_user", "worker", "pw")
        private_rabbitmq.control(*permit, ".*", ".*", ".*")
        of_all = environment(BROKER_URL=url, DATABASE_URL=clean_database)
        worker = WorkerProcess({**of_all, "BROKER_URL": url.replace("guest:guest", "worker:pw")}, *POOL)
        with ApiProcess(of_all) as api, worker:
            assert api.client.outcome(_register(api.client))["status"] == "succeeded"
            mark = worker.mark()
            private_rabbitmq.control(*permit, *left)
            private_rabbitmq.control("close_all_connections", "-p", vhost, "its permissions changed")
            accepted = _register(api.client)
            worker.await_log("ACCESS_REFUSED", mark)
            private_rabbitmq.control(*permit, ".*", ".*", ".*")
            assert api.client.outcome(accepted)["status"] == "succeeded"
        private_rabbitmq.control("delete_user", "worker")


def test_a_worker_outlives_an_exchange_that_is_deleted(private_rabbitmq: RabbitMQ, clean_database: str) -> None:
    """The one of the events for Flower: an operator tidies up."""
    with private_rabbitmq.vhost() as url:
        settings = environment(BROKER_URL=url, DATABASE_URL=clean_database)
        with ApiProcess(settings) as api, WorkerProcess(settings, *POOL) as worker:
            assert api.client.outcome(_register(api.client))["status"] == "succeeded"
            mark = worker.mark()
            with Connection(url) as connection:
                connection.default_channel.exchange_delete("celeryev")
            worker.await_log("NOT_FOUND", mark)
            assert api.client.outcome(_register(api.client))["status"] == "succeeded"


def _register(api: Client) -> Answer:
    email = f"{uuid4().hex}@example.com"
    accepted = api.post("/api/v1/users", {"name": "Ada", "email": email, "password": "correct horse battery"})
    assert accepted.status == 202, accepted.content
    return accepted


def _with(api: Client, **state: str) -> dict[str, str] | None:
    """What `/health/ready` says, once it says that."""
    found: dict[str, str] = api.get("/health/ready").body
    return found if state.items() <= found.items() else None


def _as_operator(server: Postgres, *statements: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
