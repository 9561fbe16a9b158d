"""Signing out, and the list of sessions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from uuid_utils.compat import uuid7

from backend.contexts.users.application.commands import DeactivateUser, DeleteUser, SetRoles, SignOutUser
from backend.kernel.delivery.dispatch import Bus
from backend.program import Process
from tests.client import PASSWORD, Client
from tests.contexts.auth.conftest import Database, Person, Register, ordered_by_an_admin
from tests.inline import InlineQueue


def signed_in(client: Client, person: Person) -> Client:
    return client.with_token(client.sign_in(person.email).json["access_token"])


def status(client: Client) -> int:
    return client.get("/auth/verify").status_code


def test_signing_out_ends_the_session(client: Client, ada: Person) -> None:
    """Ends this session: 204; its access token is refused from the next request on."""
    ada_here, ada_there = signed_in(client, ada), signed_in(client, ada)
    assert ada_here.post("/auth/logout").status_code == 204
    refused = ada_here.get("/auth/me")
    assert (refused.status_code, refused.json["code"]) == (401, "invalid_token")
    assert refused.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert status(ada_there) == 200


def test_signing_out_again_is_204_again(client: Client, ada: Person) -> None:
    """A second call with the same unexpired token is 204 again."""
    here = signed_in(client, ada)
    assert [here.post("/auth/logout").status_code for _ in range(3)] == [204] * 3


def test_signing_out_takes_a_token_all_the_same(client: Client) -> None:
    assert client.post("/auth/logout").status_code == 401
    assert client.with_token("x").post("/auth/logout").status_code == 401


def test_signing_out_everywhere_ends_every_session_of_the_caller(client: Client, register: Register) -> None:
    """Ends every session of the caller: 204."""
    ada, bob = register(), register()
    here, there, bobs = signed_in(client, ada), signed_in(client, ada), signed_in(client, bob)
    assert here.post("/auth/logout-all").status_code == 204
    assert [status(one) for one in (here, there, bobs)] == [401, 401, 200]


def test_a_refused_token_is_refused_on_open_routes_too(client: Client, ada: Person) -> None:
    """A bad token is 401 on open routes too."""
    here = signed_in(client, ada)
    here.post("/auth/logout")
    assert here.get(f"/operations/{uuid7()}").status_code == 401


def test_the_sessions_are_listed(client: Client, register: Register) -> None:
    """Own sessions `{"items": [{"id", "created_at", "last_used_at", "ip", "user_agent", "current"}]}`."""
    ada, bob = register(), register()
    client.post("/auth/login", {"email": ada.email, "password": PASSWORD}, User_Agent="Browser/1.0")
    here = signed_in(client, ada)
    signed_in(client, bob)
    items = here.get("/auth/sessions").json["items"]
    assert [set(item) for item in items] == [{"id", "created_at", "last_used_at", "ip", "user_agent", "current"}] * 2
    assert [item["current"] for item in items] == [True, False]
    assert items[1]["user_agent"] == "Browser/1.0"
    assert items[1]["ip"] == "192.0.2.1"
    assert items[1]["created_at"].endswith("Z")


def test_ended_and_expired_sessions_are_not_listed(client: Client, ada: Person, database: Database) -> None:
    signed_in(client, ada)
    database.execute("update sessions set last_used_at = now() - interval '31 days'")
    signed_in(client, ada).post("/auth/logout")
    here = signed_in(client, ada)
    assert [item["current"] for item in here.get("/auth/sessions").json["items"]] == [True]


def test_a_session_past_its_ninety_days_is_neither_listed_nor_refreshed(
    client: Client, ada: Person, database: Database
) -> None:
    old = client.sign_in(ada.email).json["refresh_token"]
    database.execute("update sessions set created_at = now() - interval '90 days'")
    assert len(signed_in(client, ada).get("/auth/sessions").json["items"]) == 1
    assert client.post("/auth/refresh", {"refresh_token": old}).status_code == 401


def test_what_was_purged_is_refused_like_what_never_was(
    client: Client, ada: Person, process: Process, database: Database
) -> None:
    old = client.sign_in(ada.email).json["refresh_token"]
    database.set_user(ada.id, two_step=True)
    challenge = client.sign_in(ada.email).json["challenge"]
    database.execute("update sessions set last_used_at = now() - interval '61 days'")
    database.execute("update challenges set created_at = now() - interval '3 hours'")
    process.purge()
    assert database.execute("select (select count(*) from sessions) + (select count(*) from challenges)") == [(0,)]
    refreshed = client.post("/auth/refresh", {"refresh_token": old})
    assert (refreshed.status_code, refreshed.json["code"]) == (401, "invalid_refresh_token")
    answered = client.post("/auth/verify-code", {"challenge": challenge, "code": "000000"})
    assert (answered.status_code, answered.json["code"]) == (401, "invalid_code")


def test_an_account_has_fifty_sessions_and_one_more_ends_the_oldest(
    client: Client, ada: Person, database: Database
) -> None:
    """50 per account (the oldest ends)."""
    first, second = signed_in(client, ada), signed_in(client, ada)
    database.add_sessions(48)
    assert [status(first), status(second)] == [200, 200]
    newest = signed_in(client, ada)
    assert [status(one) for one in (first, second, newest)] == [401, 200, 200]
    assert len(newest.get("/auth/sessions").json["items"]) == 50


def test_parallel_sign_ins_do_not_leave_more_than_fifty_sessions(
    client: Client, ada: Person, at: Callable[[str], Client], database: Database
) -> None:
    signed_in(client, ada)
    database.add_sessions(48)
    with ThreadPoolExecutor(6) as people:
        statuses = people.map(lambda n: at(f"192.0.2.{n}").sign_in(ada.email).status_code, range(6))
        assert list(statuses) == [200] * 6
    assert database.execute("select count(*) from sessions where ended_at is null") == [(50,)]


def test_another_session_of_ones_own_can_be_ended(client: Client, ada: Person) -> None:
    """End one: 204."""
    there, here = signed_in(client, ada), signed_in(client, ada)
    (other,) = [item["id"] for item in here.get("/auth/sessions").json["items"] if not item["current"]]
    assert here.delete(f"/auth/sessions/{other}").status_code == 204
    assert [status(here), status(there)] == [200, 401]
    assert len(here.get("/auth/sessions").json["items"]) == 1


def test_another_persons_session_is_unknown(client: Client, register: Register) -> None:
    """Another person's private resource: 404, and it stays."""
    ada, bob = signed_in(client, register()), signed_in(client, register())
    (bobs,) = [item["id"] for item in bob.get("/auth/sessions").json["items"]]
    refused, unknown = ada.delete(f"/auth/sessions/{bobs}"), ada.delete(f"/auth/sessions/{uuid7()}")
    assert refused.status_code == unknown.status_code == 404
    assert refused.json["code"] == unknown.json["code"] == "session_not_found"
    assert status(bob) == 200
    assert ada.delete("/auth/sessions/x").status_code == 404


@pytest.mark.parametrize("path", ["/auth/sessions", "/auth/verify"])
def test_sessions_are_private(client: Client, path: str) -> None:
    assert client.get(path).status_code == 401


class TestWhatTheUsersContextDoes:
    """Auth subscribes to its events, in the same transaction, in a worker."""

    def test_deactivating_ends_every_session_at_once(
        self, client: Client, ada: Person, bus: Bus, queue: InlineQueue
    ) -> None:
        """Deactivating ends every session at once."""
        here, there = signed_in(client, ada), signed_in(client, ada)
        ordered_by_an_admin(bus, queue, DeactivateUser(ada.id))
        assert_soon_refused(here)
        assert_soon_refused(there)

    def test_changed_roles_refuse_the_tokens_issued_before(
        self, client: Client, ada: Person, bus: Bus, queue: InlineQueue
    ) -> None:
        """Access tokens issued before are refused from the next request on (401), a refresh brings new ones."""
        pair = client.sign_in(ada.email).json
        ordered_by_an_admin(bus, queue, SetRoles(ada.id, ["admin"]))
        assert_soon_refused(client.with_token(pair["access_token"]))
        fresh = client.post("/auth/refresh", {"refresh_token": pair["refresh_token"]}).json["access_token"]
        assert status(client.with_token(fresh)) == 200

    def test_an_admin_ends_every_session_of_a_user_who_may_sign_in_again(
        self, client: Client, ada: Person, bus: Bus, queue: InlineQueue
    ) -> None:
        """DELETE /users/{id}/sessions: ends every session of theirs."""
        here, there = signed_in(client, ada), signed_in(client, ada)
        ordered_by_an_admin(bus, queue, SignOutUser(ada.id))
        assert_soon_refused(here)
        assert_soon_refused(there)
        assert status(signed_in(client, ada)) == 200

    def test_a_deleted_account_has_no_session(self, client: Client, ada: Person, bus: Bus, queue: InlineQueue) -> None:
        """Profile gone, every session ended; signing out of it is still fine."""
        here = signed_in(client, ada)
        ordered_by_an_admin(bus, queue, DeleteUser(ada.id))
        assert_soon_refused(here)
        assert here.post("/auth/logout").status_code == 204

    def test_a_changed_password_leaves_the_session_that_changed_it(
        self, client: Client, ada: Person, queue: InlineQueue
    ) -> None:
        """Ends the other sessions."""
        here, there = signed_in(client, ada), signed_in(client, ada)
        body = {"old_password": PASSWORD, "new_password": "another fine password"}
        assert here.put("/auth/change-password", body).status_code == 204
        assert_soon_refused(there)
        assert status(here) == 200


def assert_soon_refused(client: Client) -> None:
    """What a worker ends is known as fast as PostgreSQL notifies; each look here is a request, so no clock is asked."""
    for _ in range(1000):
        if status(client) == 401:
            return
    raise AssertionError("the token is still good")
