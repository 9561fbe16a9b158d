"""Ended sessions are refused at once, without a query per request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from backend.contexts.auth.infrastructure.revocation import Gate, Revocations
from backend.kernel.postgres.database import Database as AppDatabase
from backend.kernel.postgres.faults import DatabaseAway
from backend.kernel.postgres.listener import Listener
from backend.program import Process
from backend.settings import Settings
from tests.client import PASSWORD, Client
from tests.contexts.auth.conftest import Database, Person, access_tokens
from tests.program import another_process


@contextmanager
def elsewhere(settings: Settings) -> Iterator[Client]:
    """Somebody anonymous at another API process."""
    with another_process(settings) as app:
        yield Client(app)


@contextmanager
def no_session_can_be_asked_for(database: Database) -> Iterator[None]:
    """Whatever queries the table now, fails."""
    database.execute("alter table sessions rename to sessions_away")
    yield
    database.execute("alter table sessions_away rename to sessions")


@pytest.fixture
def token(client: Client, ada: Person) -> str:
    return str(client.sign_in(ada.email).json["access_token"])


def status(client: Client, token: str) -> int:
    return client.with_token(token).get("/auth/verify").status_code


def cut(process: Process, database: Database) -> None:
    """Take the listener's connection away."""
    database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'listener' and datname = current_database()"
    )
    while process.resources.listener.connected:
        pass


def cut_off(process: Process, database: Database) -> None:
    """Take it away for good."""
    process.resources.listener.stop()
    cut(process, database)


def test_reads_make_no_query_about_sessions(client: Client, token: str, database: Database) -> None:
    """No query per request: validate-token, verify, and every guarded route."""
    with no_session_can_be_asked_for(database):
        assert status(client, token) == 200
        assert client.with_token(token).get("/auth/me").status_code == 200
        assert client.post("/auth/validate-token", {"access_token": token}).json["is_valid"] is True


def test_an_ended_session_is_remembered_not_asked_for(client: Client, token: str, database: Database) -> None:
    client.with_token(token).post("/auth/logout")
    with no_session_can_be_asked_for(database):
        assert status(client, token) == 401


def test_every_process_refuses_from_the_next_request_on(client: Client, ada: Person, settings: Settings) -> None:
    """Its access token is refused from the next request on, by every API process."""
    with elsewhere(settings) as second, elsewhere(settings) as third:
        for _ in range(10):
            token = client.sign_in(ada.email).json["access_token"]
            assert [status(one, token) for one in (client, second, third)] == [200] * 3
            assert second.with_token(token).post("/auth/logout").status_code == 204
            assert [status(one, token) for one in (client, second, third)] == [401] * 3


def test_what_a_command_ended_is_refused_by_every_process_once_its_outcome_is_told(
    client: Client, ada: Person, settings: Settings
) -> None:
    """A changed password ends the other sessions: at once, although a worker did it."""
    change = {"old_password": PASSWORD, "new_password": PASSWORD}
    with elsewhere(settings) as second, elsewhere(settings) as third:
        for _ in range(10):
            other, own = (client.sign_in(ada.email).json["access_token"] for _ in range(2))
            assert [status(one, other) for one in (client, second, third)] == [200] * 3
            changed = client.with_token(own).put("/auth/change-password", change)
            assert changed.status_code == 204
            assert [status(one, other) for one in (third, second, client)] == [401] * 3


def test_a_process_that_starts_later_knows_what_ended_before(
    client: Client, token: str, ada: Person, settings: Settings, database: Database
) -> None:
    client.with_token(token).post("/auth/logout-all")
    fresh = client.sign_in(ada.email).json["access_token"]
    with elsewhere(settings) as latecomer, no_session_can_be_asked_for(database):
        assert [status(latecomer, token), status(latecomer, fresh)] == [401, 200]


def test_while_the_listener_is_down_the_database_is_asked(
    process: Process, client: Client, token: str, ada: Person, database: Database
) -> None:
    other = client.sign_in(ada.email).json["access_token"]
    cut_off(process, database)
    assert [status(client, token), status(client, other)] == [200, 200]
    # Ended elsewhere, and nobody told this process.
    database.execute("update sessions set ended_at = now() where id = (select id from sessions order by id limit 1)")
    assert [status(client, token), status(client, other)] == [401, 200]
    assert client.with_token(other).post("/auth/logout").status_code == 204
    assert status(client, other) == 401


def test_while_the_listener_is_down_a_session_nobody_knows_is_refused(
    process: Process, client: Client, token: str, database: Database
) -> None:
    cut_off(process, database)
    database.execute("delete from sessions")
    assert status(client, token) == 401


def test_a_listener_that_comes_back_catches_up_first(
    process: Process, client: Client, token: str, database: Database
) -> None:
    """It counts as connected only after it knows what it missed, so there is no moment of doubt."""
    database.execute("update sessions set ended_at = now(), revoked_at = now()")  # without a notification
    assert status(client, token) == 200
    cut(process, database)
    assert status(client, token) == 401
    assert process.resources.listener.start(timeout=10)
    with no_session_can_be_asked_for(database):
        assert status(client, token) == 401


def test_without_listener_and_database_nobody_is_believed(settings: Settings, client: Client, token: str) -> None:
    """It ends as 503: what cannot be told is not guessed."""
    nowhere = "postgresql://postgres@127.0.0.1:9/none"
    tokens = access_tokens(settings)
    listener = Listener(nowhere, {})
    database = AppDatabase(nowhere)
    with pytest.raises(DatabaseAway):
        Gate(tokens, Revocations(database, tokens.lifetime), listener).authenticate(token)
    listener.stop()
    database.close()


@pytest.fixture
def primary(settings: Settings) -> Iterator[AppDatabase]:
    database = AppDatabase(settings.database_url)
    yield database
    database.close()


def test_memory_forgets_what_has_expired(client: Client, ada: Person, primary: AppDatabase, database: Database) -> None:
    """Entries expire with the tokens."""
    for _ in range(10):
        client.with_token(client.sign_in(ada.email).json["access_token"]).post("/auth/logout")
    later = "now() + interval '1 hour'"
    database.execute(f"update sessions set revoked_at = {later}, last_used_at = {later}")  # noqa: S608 - no input
    revocations = Revocations(primary, lifetime=-120)
    revocations.hear(str(ada.id))
    assert len(revocations._lowest_good) <= 1  # noqa: SLF001 - there is no other way to see memory


def test_what_is_known_to_be_refused_stays_refused(
    client: Client, ada: Person, primary: AppDatabase, database: Database
) -> None:
    """An answer of the database that is older than another one takes nothing back."""
    client.with_token(client.sign_in(ada.email).json["access_token"]).post("/auth/logout")
    ((session_id,),) = database.execute("select id from sessions")
    revocations = Revocations(primary, lifetime=900)
    revocations.hear(str(ada.id))
    ended = revocations.lowest_good(session_id)
    database.execute("update sessions set ended_at = null, generation = 2")
    revocations.hear(str(ada.id))
    assert revocations.lowest_good(session_id) == ended > 2


def test_very_many_sessions_end_with_one_notification_and_leave_memory_alone(  # noqa: PLR0913, PLR0917
    client: Client, ada: Person, token: str, process: Process, database: Database, settings: Settings
) -> None:
    """One statement and one notification per account, however many sessions it has from an earlier release."""
    database.add_sessions(20_000, used="now() - interval '1 hour'")
    with psycopg.connect(settings.database_url, autocommit=True) as listener:
        listener.execute("listen sessions")
        assert client.with_token(token).post("/auth/logout-all").status_code == 204
        assert [notice.payload for notice in listener.notifies(timeout=0.5)] == [str(ada.id)]
    assert database.execute("select count(*) from sessions where ended_at is null") == [(0,)]
    assert status(client, token) == 401
    with no_session_can_be_asked_for(database):
        assert status(client, token) == 401
