"""PostgreSQL as it is found: addresses of every form, poolers, locks, failovers, replicas."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.util import CommandError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool
from structlog.testing import capture_logs

from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.postgres import database as postgres
from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.faults import DatabaseAway
from backend.kernel.postgres.listener import Listener
from backend.kernel.postgres.replica import ReplicaState
from backend.kernel.postgres.statements import driver_of
from backend.program import Process, Program
from tests import certificates
from tests.inline import InlineQueue
from tests.pooler import pooler
from tests.postgres import Postgres, alembic_config, database_beside, migrate
from tests.proxy import Proxy
from tests.settings import settings_with
from tests.standby import Pair
from tests.worker import eventually

FORMS = {
    "an address": "postgresql://postgres@/{dbname}?host={socket}",
    "the short scheme": "postgres://postgres@/{dbname}?host={socket}",
    "keywords and values": "host={socket} user=postgres dbname={dbname}",
    "several hosts": "postgresql://postgres@%2Fnowhere:1,{quoted}:5432/{dbname}?target_session_attrs=read-write",
    "several hosts in a parameter": "postgresql://postgres@/{dbname}?host=/nowhere,{socket}&port=5432,5432",
    "options": "postgresql://postgres@/{dbname}?host={socket}&options=-csearch_path%3Dapp,public",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_address_leads_engine_pools_listener_and_migrations_to_the_same_place(
    database_url: str, form: str
) -> None:
    parameters = conninfo_to_dict(database_url)
    socket, dbname = str(parameters["host"]), parameters["dbname"]
    url = FORMS[form].format(socket=socket, quoted=socket.replace("/", "%2F"), dbname=dbname)

    with closing(Database(url)) as database:
        assert database.read(_place) == (dbname, _search_path(form), "15s", "10s")
        with database.transaction() as connection:
            assert _place(driver_of(connection)) == (dbname, _search_path(form), "15s", "10s")
    listener = Listener(url, {})
    assert listener.start(timeout=10)
    listener.stop()
    migrate(url)


def test_a_closed_database_opens_nothing_again(database_url: str) -> None:
    """A thread that still asks would leave a pool behind that nobody closes."""
    database = Database(database_url)
    assert database.read(_place)
    database.close()
    with pytest.raises(DatabaseAway):
        database.read(_place)
    with pytest.raises(DatabaseAway), database.transaction():
        pass
    never_asked = Database(database_url)
    never_asked.close()
    with pytest.raises(DatabaseAway):
        never_asked.read(_place)


def test_what_the_address_sets_itself_is_kept(database_url: str) -> None:
    own = f"{database_url}&options=-c%20statement_timeout%3D3s&application_name=shop"
    with closing(Database(own)) as database:
        names = ("statement_timeout", "lock_timeout", "application_name")
        question = "select " + ", ".join(f"current_setting('{name}')" for name in names)
        found = database.read(lambda connection: connection.execute(question.encode()).fetchone())
        assert found == ("3s", "10s", "shop")


@pytest.mark.parametrize(("mode", "size"), [("transaction", 2), ("session", 40)])
def test_the_program_works_through_a_pooler(clean_database: str, mode: str, size: int) -> None:
    """Transaction after transaction on whichever of its two connections is free: nothing of a session is left there."""
    with pooler(clean_database, mode, size) as url, _process(url, database_direct_url=clean_database) as process:
        app = process.web()
        assert process.resources.listener.start(timeout=10)
        client = app.test_client()
        for number in range(8):  # psycopg prepares a statement when it runs the sixth time
            body = {"name": "Ada", "email": f"ada{number}@example.com", "password": "correct horse battery"}
            assert client.post("/api/v1/users", json=body, headers={"Prefer": "wait=10"}).status_code == 201
            token = client.post("/api/v1/auth/login", json=_login(body)).get_json()["access_token"]
            me = client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
            assert me.status_code == 200
        with process.resources.database.transaction() as connection:
            assert connection.execute(sa.text("show lock_timeout")).scalar() == "10s"


def test_behind_a_pooler_the_listener_and_migrations_ask_for_the_server_itself(clean_database: str) -> None:
    with pooler(clean_database, "transaction") as url:
        listener = Listener(url, {})
        with capture_logs() as said:
            listener.start()
            reason = eventually(lambda: [line["reason"] for line in said if "reason" in line])
        assert not listener.connected
        listener.stop()
        assert "DATABASE_DIRECT_URL" in reason[0]
        with pytest.raises(CommandError, match="DATABASE_DIRECT_URL"):
            command.upgrade(alembic_config(url), "heads")


@pytest.mark.parametrize(
    "options",
    [
        "ENCODING LATIN1 LOCALE 'C' TEMPLATE template0",
        "ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0",
        "ENCODING EUC_JP LOCALE 'C' TEMPLATE template0",
    ],
)
def test_a_database_of_another_encoding_is_refused(database_url: str, options: LiteralString) -> None:
    with database_beside(database_url, "encoding_test", options) as url:
        with pytest.raises(CommandError, match="UTF8"):
            command.upgrade(alembic_config(url), "heads")
        with closing(Database(url)) as database, pytest.raises(DatabaseAway):
            database.read(_place, timeout=0.2)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_texts_are_exchanged_in_utf8_whatever_the_environment_or_the_address_says(
    database_url: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    command.upgrade(alembic_config(database_url), "heads")
    for url in (database_url, f"{database_url}&client_encoding={encoding}"):
        with closing(Database(url)) as database:
            text = database.read(lambda connection: connection.execute("select %s", ["Łódź 日本"]).fetchone())
        assert text == ("Łódź 日本",)


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
def test_who_waits_too_long_for_a_lock_may_come_back(clean_database: str, limit: str) -> None:
    hasty = f"{clean_database}&options=-c%20{limit}%3D50ms"
    with _process(hasty) as process, psycopg.connect(clean_database) as other:
        client = process.web().test_client()
        other.execute("lock table users in access exclusive mode")
        answer = client.post("/api/v1/auth/login", json={"email": "a@example.com", "password": "x" * 10})
        with pytest.raises(DatabaseAway):
            process.resources.database.read(lambda connection: connection.execute("select from users"))

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


@contextmanager
def _read_only(server: Postgres) -> Iterator[None]:
    with psycopg.connect(server.url, autocommit=True) as operator:
        try:
            _tell_everybody(operator, "alter system set default_transaction_read_only = on")
            yield
        finally:
            _tell_everybody(operator, "alter system reset default_transaction_read_only")


def _tell_everybody(operator: psycopg.Connection[object], statement: str) -> None:
    operator.execute(statement.encode())
    operator.execute("select pg_reload_conf()")
    expected = "on" if statement.endswith("on") else "off"
    eventually(lambda: operator.execute("show default_transaction_read_only").fetchone() == (expected,))


def test_a_server_that_takes_no_writes_is_waited_for(postgres_server: Postgres) -> None:
    with _process(postgres_server.url) as process:
        client, database = process.web().test_client(), process.resources.database
        assert database.takes_writes()
        with _read_only(postgres_server):
            answer = client.post("/api/v1/auth/login", json={"email": "a@example.com", "password": "x" * 10})
            assert (answer.status_code, bool(answer.headers["Retry-After"])) == (503, True)
            assert database.read(lambda connection: connection.execute(b"select 1").fetchone()) == (1,)
            assert not database.takes_writes()
            for _ in range(2):
                with pytest.raises(DatabaseAway), database.transaction() as connection:
                    connection.execute(sa.text("delete from outbox"))
        answer = client.post("/api/v1/auth/login", json={"email": "a@example.com", "password": "x" * 10})
        assert answer.status_code == 401


@pytest.mark.parametrize(
    "state",
    [
        "53100",
        "53200",
        "53300",
        "53400",
        "57P01",
        "57P02",
        "57P03",
        "58030",
        "55P03",
        "57014",
        "25P03",
        "25P04",
        "25006",
    ],
)
def test_the_servers_passing_states_are_not_the_messages_fault(database_url: str, state: str) -> None:
    raising = f"do $$ begin raise exception 'a passing state' using errcode = '{state}'; end $$"
    with closing(Database(database_url)) as database:
        with pytest.raises(DatabaseAway), database.transaction() as connection:
            connection.execute(sa.text(raising))
        with pytest.raises(DatabaseAway):
            database.read(lambda connection: connection.execute(raising.encode()))


@pytest.mark.parametrize(("name", "expired"), [("localhost", True), ("other.example", False)], ids=["old", "another's"])
def test_a_certificate_that_is_not_accepted_is_named_until_it_is_renewed(
    clean_database: str, tmp_path: Path, name: str, *, expired: bool
) -> None:
    bad = certificates.self_signed(tmp_path, name, expired=expired)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(bad.read_bytes())
    renewed = certificates.self_signed(tmp_path, "localhost")
    trusted.write_bytes(trusted.read_bytes() + renewed.read_bytes())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["postgresql"])
    context.load_cert_chain(trusted)
    found = conninfo_to_dict(clean_database)
    with Proxy(f"{found['host']}/.s.PGSQL.5432", 0, tls=context) as proxy:
        tls = f"sslmode=verify-full&sslnegotiation=direct&sslrootcert={trusted}"
        with _process(f"postgresql://postgres@localhost:{proxy.port}/{found['dbname']}?{tls}") as process:
            client, database = process.web().test_client(), process.resources.database
            with pytest.raises(DatabaseAway, match="certificate is not accepted"), database.transaction():
                pass
            assert "certificate is not accepted" in client.get("/health/ready").get_json()["reason"]
            context.load_cert_chain(renewed)
            eventually(lambda: client.get("/health/ready").get_json()["database"] == "up")
            with database.transaction() as connection:
                connection.execute(sa.text("delete from outbox"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"user": "limited"}, "no connection"),
        ({"user": "barred"}, "refuses the account"),
        ({"user": "unknown"}, "no such database or account"),
        ({"dbname": "nowhere"}, "no such database or account"),
        ({"host": "nowhere.invalid"}, "name of PostgreSQL's host is not found"),
    ],
)
def test_health_tells_why_the_database_cannot_be_reached(
    clean_database: str, change: dict[str, str], said: str
) -> None:
    with psycopg.connect(clean_database, autocommit=True) as operator:
        operator.execute("drop role if exists limited")
        operator.execute("create role limited login connection limit 0")
        operator.execute("drop role if exists barred")
        operator.execute("create role barred nologin")
    with _process(make_conninfo(clean_database, **change)) as process:
        ready = process.web().test_client().get("/health/ready").get_json()
        assert (ready["database"], said in ready["reason"]) == ("down", True)
    with psycopg.connect(clean_database, autocommit=True) as operator:
        operator.execute("drop role limited")


def test_a_process_that_was_suspended_in_a_transaction_is_not_the_messages_fault(database_url: str) -> None:
    hasty = f"{database_url}&options=-c%20idle_in_transaction_session_timeout%3D50ms"

    def suspended(database: Database) -> None:
        with database.transaction() as connection, psycopg.connect(database_url, autocommit=True) as other:
            backend = connection.execute(sa.text("select pg_backend_pid()")).scalar()
            eventually(lambda: not other.execute("select from pg_stat_activity where pid = %s", (backend,)).rowcount)
            connection.execute(sa.text("select 1"))

    with closing(Database(hasty)) as database, pytest.raises(DatabaseAway):
        suspended(database)


def test_a_reader_waits_once_for_a_database_that_is_away(
    postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second wait would take twice as long as the caller was promised."""
    waits: list[float | None] = []
    getconn = ConnectionPool.getconn

    def counted(pool: ConnectionPool[ReadConnection], timeout: float | None = None) -> ReadConnection:
        waits.append(timeout)
        return getconn(pool, timeout)

    monkeypatch.setattr(ConnectionPool, "getconn", counted)
    with closing(Database(postgres_server.url)) as database:
        postgres_server.stop()
        try:
            with pytest.raises(DatabaseAway):
                database.read(_place, timeout=0.2)
        finally:
            postgres_server.start()
    assert waits == [0.2]


def test_who_is_signed_in_reads_what_they_wrote_and_others_may_read_from_the_replica(pair: Pair) -> None:
    with closing(Database(pair.primary.url, pair.standby.url)) as database:
        eventually(lambda: database.replica_state is ReplicaState.UP)
        assert database.read(_is_replica)
        assert not database.read(_is_replica, fresh=True)
        token = current_origin.set(Origin(actor=uuid4()))
        assert not database.read(_is_replica)
        current_origin.reset(token)


def test_a_replica_that_lags_is_asked_nothing_until_it_has_caught_up(pair: Pair) -> None:
    with closing(Database(pair.primary.url, pair.standby.url)) as database:
        eventually(lambda: database.replica_state is ReplicaState.UP)
        pair.pause()
        with database.transaction() as connection:
            connection.execute(sa.text("create table lag()"))
        eventually(lambda: database.replica_state is ReplicaState.LAGGING)
        assert not database.read(_is_replica)
        pair.go_on()
        eventually(lambda: database.replica_state is ReplicaState.UP)
        assert database.read(_is_replica)


@pytest.mark.parametrize(("asked", "answered", "ahead"), [(-1, 3, 0), (60, 63, 60), (-63, -60, -60)])
def test_a_clock_is_wrong_by_what_a_slow_answer_does_not_explain(
    clean_database: str, monkeypatch: pytest.MonkeyPatch, asked: float, answered: float, ahead: float
) -> None:
    theirs = datetime(2026, 1, 2, tzinfo=UTC)
    own = iter([theirs + timedelta(seconds=asked), theirs + timedelta(seconds=answered)])

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return next(own).astimezone(tz)

    monkeypatch.setattr(postgres, "datetime", Clock)
    monkeypatch.setattr(postgres, "_only_value", lambda *_: theirs)
    with psycopg.connect(clean_database) as connection:
        assert postgres.clock_ahead(connection).total_seconds() == ahead


def test_the_primary_answers_for_a_replica_that_is_gone(pair: Pair) -> None:
    with closing(Database(pair.primary.url, pair.standby.url)) as database:
        eventually(lambda: database.replica_state is ReplicaState.UP)
        pair.standby.stop()
        assert not database.read(_is_replica)
        assert database.replica_state is ReplicaState.DOWN
        pair.standby.start()
        eventually(lambda: database.replica_state is ReplicaState.UP)


def test_after_a_failover_reads_and_writes_go_to_the_standby(pair: Pair) -> None:
    """The last of this module: there is no way back."""
    with closing(Database(pair.either)) as database:
        assert database.takes_writes()
        pair.fail_over()
        eventually(lambda: _writes(database))
        assert database.takes_writes()


def _writes(database: Database) -> bool:
    try:
        with database.transaction() as connection:
            connection.execute(sa.text("delete from outbox"))
    except DatabaseAway:
        return False
    return True


@contextmanager
def _process(database_url: str, **more: str) -> Iterator[Process]:
    queue = InlineQueue()
    process = queue.process = Program(settings_with(database_url=database_url, **more)).process(queue)
    yield process
    queue.close()
    process.close()


def _login(body: dict[str, str]) -> dict[str, str]:
    return {name: body[name] for name in ("email", "password")}


def _place(connection: ReadConnection) -> tuple[object, ...] | None:
    names = ("search_path", "statement_timeout", "lock_timeout")
    settings = ", ".join(f"current_setting('{name}')" for name in names)
    return connection.execute(f"select current_database(), {settings}".encode()).fetchone()


def _search_path(form: str) -> str:
    return "app,public" if form == "options" else '"$user", public'


def _is_replica(connection: ReadConnection) -> bool:
    found = connection.execute("select pg_is_in_recovery()").fetchone()
    return found is not None and bool(found[0])
