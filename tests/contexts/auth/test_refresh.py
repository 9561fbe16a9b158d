"""POST /auth/refresh: rotation, replay, parallel use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.contexts.auth.domain.events import RefreshTokenReused
from backend.contexts.users.application.commands import DeactivateUser, SetRoles
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.keys import Keyring
from backend.settings import Settings
from tests.client import Answer, Client
from tests.contexts.auth.conftest import Database, Person, Told, ordered_by_an_admin
from tests.inline import InlineQueue


@pytest.fixture
def first(client: Client, ada: Person) -> str:
    return str(client.sign_in(ada.email).json["refresh_token"])


def refresh(client: Client, token: str) -> Answer:
    return client.post("/auth/refresh", {"refresh_token": token})


def successor(client: Client, token: str) -> str:
    answer = refresh(client, token)
    assert answer.status_code == 200, answer.json
    return str(answer.json["refresh_token"])


def later(database: Database, seconds: int = 31) -> None:
    """Let the exchanges so far have been earlier."""
    database.execute(
        "update sessions set spent = (select coalesce(jsonb_object_agg(key, value::float - %s), '{}')"
        " from jsonb_each(spent))",
        seconds,
    )


def test_a_refresh_token_brings_a_new_pair(client: Client, first: str, ada: Person) -> None:
    """`{"refresh_token"}` → new pair (rotation)."""
    answer = refresh(client, first)
    assert set(answer.json) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert answer.json["refresh_token"] != first
    assert client.with_token(answer.json["access_token"]).get("/auth/me").json["id"] == str(ada.id)


def test_each_successor_can_be_exchanged_in_turn(client: Client, first: str, database: Database) -> None:
    token, seen = first, {first}
    for _ in range(4):
        token = successor(client, token)
        later(database)
        seen.add(token)
    assert len(seen) == 5


def test_replayed_within_thirty_seconds_it_brings_the_same_successor(
    client: Client, first: str, told: Told, queue: InlineQueue, database: Database
) -> None:
    """A replayed one within 30 s returns the same successor: the first answer may have been lost."""
    second = successor(client, first)
    later(database, 29)
    assert successor(client, first) == second
    third = successor(client, second)
    assert successor(client, first) == second
    assert successor(client, second) == third
    queue.drain()
    assert told.events == []


def test_replayed_later_it_ends_the_session_and_the_owner_is_told(
    client: Client, ada: Person, told: Told, queue: InlineQueue, database: Database
) -> None:
    """Later it ends the whole session and mails the owner."""
    first = client.sign_in(ada.email).json["refresh_token"]
    pair = refresh(client, first).json
    later(database)
    replayed = refresh(client, first)
    assert (replayed.status_code, replayed.json["code"]) == (401, "invalid_refresh_token")
    assert client.with_token(pair["access_token"]).get("/auth/me").status_code == 401
    assert refresh(client, pair["refresh_token"]).status_code == 401
    queue.sweep()
    (event,) = told.of(RefreshTokenReused)
    assert (event.user_id, event.email, event.ip) == (ada.id, ada.email, "192.0.2.1")


def test_an_older_ancestor_is_a_replay_as_well(client: Client, first: str, database: Database) -> None:
    second = successor(client, first)
    later(database)
    third = successor(client, second)
    later(database)
    assert refresh(client, first).status_code == 401
    assert refresh(client, third).status_code == 401


def test_the_owner_is_told_once(client: Client, first: str, told: Told, queue: InlineQueue, database: Database) -> None:
    successor(client, first)
    later(database)
    for _ in range(3):
        refresh(client, first)
    queue.sweep()
    assert len(told.events) == 1


def test_a_replay_ends_no_other_session(client: Client, first: str, ada: Person, database: Database) -> None:
    other = client.sign_in(ada.email).json["refresh_token"]
    successor(client, first)
    later(database)
    refresh(client, first)
    assert refresh(client, other).status_code == 200


def test_parallel_refreshes_with_one_token_get_one_successor(
    first: str, at: Callable[[str], Client], client: Client
) -> None:
    """Parallel refresh with one token: one successor."""
    with ThreadPoolExecutor(6) as clients:
        successors = set(clients.map(lambda n: successor(at(f"192.0.2.{n}"), first), range(6)))
    assert len(successors) == 1
    assert refresh(client, successors.pop()).status_code == 200


def test_an_invented_token_ends_nobodys_session(client: Client, first: str, settings: Settings) -> None:
    """Bad: `401 invalid_refresh_token`. Who knows a session's id, but no token of it, cannot end it."""
    stranger = Keyring(["another-key-" + "x" * 40]).sign("refresh token", "AAAA" * 16)
    for token in (
        "",
        "x",
        first[:-2],
        first[::-1],
        stranger,
        Keyring(settings.secret_keys).sign("handle", "x"),
        "é\x00",
    ):
        answer = refresh(client, token)
        assert (answer.status_code, answer.json["code"]) == (401, "invalid_refresh_token")
    assert refresh(client, first).status_code == 200


def test_an_access_token_is_no_refresh_token(client: Client, ada: Person) -> None:
    assert refresh(client, client.sign_in(ada.email).json["access_token"]).status_code == 401


def test_an_unused_session_expires(client: Client, first: str, database: Database) -> None:
    """Expired: `401 invalid_refresh_token`."""
    database.execute("update sessions set last_used_at = last_used_at - interval '30 days'")
    assert refresh(client, first).status_code == 401


def test_an_ended_session_is_not_refreshed(client: Client, ada: Person) -> None:
    """Ended: `401 invalid_refresh_token`."""
    pair = client.sign_in(ada.email).json
    assert client.with_token(pair["access_token"]).post("/auth/logout").status_code == 204
    assert refresh(client, pair["refresh_token"]).status_code == 401


def test_a_deactivated_user_is_not_refreshed(
    client: Client, ada: Person, bus: Bus, queue: InlineQueue, database: Database
) -> None:
    first = client.sign_in(ada.email).json["refresh_token"]
    ordered_by_an_admin(bus, queue, DeactivateUser(ada.id))
    assert refresh(client, first).status_code == 401
    database.set_user(ada.id, is_active=True)
    assert refresh(client, first).status_code == 401


def test_a_refresh_brings_the_new_roles(client: Client, ada: Person, bus: Bus, queue: InlineQueue) -> None:
    """Access tokens issued before are refused from the next request on (401), a refresh brings the new roles."""
    pair = client.sign_in(ada.email).json
    ordered_by_an_admin(bus, queue, SetRoles(ada.id, ["admin"]))
    fresh = refresh(client, pair["refresh_token"]).json["access_token"]
    assert client.with_token(fresh).get("/users").status_code == 200


def test_refresh_tokens_are_not_in_the_table(client: Client, first: str, database: Database) -> None:
    """Opaque and stored hashed."""
    second = successor(client, first)
    rows = str(database.execute("select * from sessions"))
    assert first not in rows
    assert second not in rows
