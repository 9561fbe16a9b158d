"""What anybody may ask for without signing in is bounded, and holds up nobody who is signed in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from typing import Any

import psycopg
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from backend.settings import Settings
from tests.client import PASSWORD
from tests.contexts.users.conftest import Person
from tests.inline import InlineQueue
from tests.program import another_process

three_per_network = pytest.mark.parametrize("settings", [{"registrations_per_address": 3}], indirect=True)
_NUMBERS = count(1)

Post = Callable[..., TestResponse]


def body(**fields: Any) -> dict[str, Any]:
    return {"name": "Ada", "email": f"ada{next(_NUMBERS)}@example.com", "password": PASSWORD, **fields}


def posting(app: Flask) -> Post:
    def post(new_user: dict[str, Any], ip: str = "192.0.2.1", path: str = "/users", **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent: TestResponse = app.test_client().post(
            f"/api/v1{path}", json=new_user, headers=named, environ_overrides={"REMOTE_ADDR": ip}
        )
        return sent

    return post


@pytest.fixture
def post(app: Flask) -> Post:
    return posting(app)


@three_per_network
def test_the_surplus_from_one_network_is_429_and_nothing_is_done(post: Post, queue: InlineQueue) -> None:
    assert [post(body()).status_code for _ in range(3)] == [202] * 3
    refused = post(body())
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_requests")
    assert 3590 < int(refused.headers["Retry-After"]) <= 3600
    assert len([message for message in queue.sent if message.name == "users.create_user"]) == 3


@three_per_network
def test_both_addresses_of_the_route_share_the_limit(post: Post) -> None:
    paths = ["/users", "/auth/register"] * 2
    assert [post(body(), path=path).status_code for path in paths] == [202] * 3 + [429]


@three_per_network
@pytest.mark.parametrize(
    "ips",
    [
        ["192.0.2.1", "::ffff:192.0.2.1", "::FFFF:C000:0201", "192.0.2.1"],
        ["2001:db8::1", "2001:db8::2", "2001:0DB8:0:0:ffff::3", "2001:db8:0:0:1::4"],
    ],
)
def test_a_network_is_one_however_its_addresses_are_written(post: Post, ips: list[str]) -> None:
    """One of IPv4, an IPv6 /64: that is what one customer has."""
    assert [post(body(), ip).status_code for ip in ips] == [202] * 3 + [429]


@pytest.mark.parametrize("settings", [{"registrations_per_address": 3, "trusted_proxies": 1}], indirect=True)
@pytest.mark.parametrize(
    "told",
    [
        ["203.0.113.8:5100", "203.0.113.8:5101", "203.0.113.8", "198.51.100.1, 203.0.113.8:5102"],
        ["[2001:db8::1]:443", "2001:db8::1", "[2001:db8::2]", "2001:DB8:0:0::3"],
        ["", "unknown", "nobody-1", "nobody-2"],
    ],
)
def test_no_spelling_of_an_address_is_another_client(post: Post, told: list[str]) -> None:
    """What a trusted proxy tells is normalized; what is no address counts as the proxy's."""
    statuses = [post(body(), X_Forwarded_For=address).status_code for address in told]
    assert statuses == [202] * 3 + [429]


@three_per_network
def test_other_networks_are_not_refused(post: Post) -> None:
    for ip in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"):
        assert [post(body(), ip).status_code for _ in range(4)] == [202] * 3 + [429]


@pytest.mark.parametrize("settings", [{"registrations": 3}], indirect=True)
def test_the_surplus_from_everybody_is_429(post: Post) -> None:
    statuses = [post(body(), f"192.0.2.{number}").status_code for number in range(4)]
    assert statuses == [202] * 3 + [429]


@pytest.mark.parametrize("settings", [{"registrations_per_address": 3, "registrations": 5}], indirect=True)
def test_what_one_network_is_refused_does_not_count_for_everybody(post: Post) -> None:
    assert [post(body()).status_code for _ in range(20)] == [202] * 3 + [429] * 17
    assert [post(body(), "192.0.2.2").status_code for _ in range(3)] == [202] * 2 + [429]


@three_per_network
def test_what_is_refused_for_its_shape_does_not_count(post: Post) -> None:
    for _ in range(5):
        assert post(body(email="nobody")).status_code == 422
        assert post(body(), Idempotency_Key="").status_code == 422
    assert [post(body()).status_code for _ in range(4)] == [202] * 3 + [429]


@three_per_network
def test_a_request_repeated_under_its_key_counts_once(post: Post, queue: InlineQueue) -> None:
    same = body()
    handles = {post(same, Idempotency_Key="once").json["id"] for _ in range(10)}
    assert len(handles) == 1
    assert [post(body()).status_code for _ in range(3)] == [202] * 2 + [429]
    assert post(same, Idempotency_Key="once").status_code == 202
    queue.drain()
    done = post(same, Idempotency_Key="once", Prefer="wait=10")
    assert done.status_code == 201


@three_per_network
def test_a_request_that_was_refused_is_not_let_through_under_its_key(post: Post) -> None:
    assert [post(body()).status_code for _ in range(3)] == [202] * 3
    same = body()
    assert {post(same, Idempotency_Key="once").status_code for _ in range(3)} == {429}


@three_per_network
def test_parallel_registrations_by_several_processes_are_counted_in_full(post: Post, settings: Settings) -> None:
    with ExitStack() as stack:
        posts = [post, *(posting(stack.enter_context(another_process(settings))) for _ in range(2))]
        with ThreadPoolExecutor(9) as people:
            statuses = Counter(people.map(lambda number: posts[number % 3](body()).status_code, range(18)))
    assert statuses == {202: 3, 429: 15}


@three_per_network
def test_an_hour_later_there_is_room_again(post: Post, settings: Settings) -> None:
    assert [post(body()).status_code for _ in range(4)] == [202] * 3 + [429]
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("update counters set times = array(select t - interval '1 hour' from unnest(times) t)")
    assert post(body()).status_code == 202


@pytest.mark.parametrize("settings", [{"spool_limit": 10}], indirect=True)
def test_anonymous_requests_do_not_fill_the_spool_for_those_who_are_signed_in(
    post: Post, ada: Person, queue: InlineQueue
) -> None:
    """While the broker is away, whoever is anonymous has half of it."""
    queue.drain()
    queue.down = True
    forgot = [post({"email": "ada@example.com"}, path="/auth/forgot-password") for _ in range(8)]
    assert [answer.status_code for answer in forgot] == [202] * 5 + [503] * 3
    assert int(forgot[-1].headers["Retry-After"]) > 0
    assert post(body()).status_code == 503
    assert post({"email": "ada@example.com"}, path="/auth/resend-verification").status_code == 503
    changed = [ada.patch("/users/me", {"age": age}, Prefer="respond-async").status_code for age in range(5)]
    assert changed == [202] * 5


def test_full_anonymous_lanes_are_503_and_hold_up_nobody_who_is_signed_in(
    post: Post, ada: Person, queue: InlineQueue
) -> None:
    queue.drain()
    queue.full = {"users.commands.anonymous", "users.hashing.anonymous"}
    queue.sent.clear()
    for answer in (
        post(body()),
        post(body(), path="/auth/register"),
        post({"email": "ada@example.com"}, path="/auth/forgot-password"),
        post({"email": "ada@example.com"}, path="/auth/resend-verification"),
    ):
        assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    passwords = {"old_password": PASSWORD, "new_password": "another horse battery"}
    assert ada.put("/auth/change-password", passwords).status_code == 204
    assert ada.patch("/users/me", {"age": 36}).status_code == 200
    queue.sweep()
    assert not [message for message in queue.sent if message.lane in queue.full]
