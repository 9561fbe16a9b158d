"""What anonymous callers and ordinary users do to the API."""

from __future__ import annotations

import re
import socket
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import partial
from itertools import pairwise
from typing import Any

from tests.attacks.field import AT_ONCE, PASSWORD, Battlefield, Result, at_once, somebody
from tests.worker import eventually

PER_ADDRESS = 20
"""Registrations an hour, in these tests as in production."""
_LOGIN, _USERS, _ME = "/api/v1/auth/login", "/api/v1/users", "/api/v1/users/me"
_SPOOLED_FOR_ANYBODY = 5000
_NUMBER = 10
_ATTACKERS = "the password of the attacker"
_MANY_SESSIONS = """
insert into sessions (id, user_id, generation, refresh_fingerprint, spent, ip, user_agent, created_at, last_used_at)
select gen_random_uuid(), %s, 1, '', '{}', '', '', now(), now() from generate_series(1, 50000) returning 1
"""
_LINES = (f"POST {_USERS}", f"DELETE {_ME}", "POST /api/v1/auth/logout-all", f"GET {_ME}")


def invalid_links(field: Battlefield) -> Result:
    """Parallel uses of a link that is none: no password is hashed for it."""
    body = {"token": "AAAA.BBBB", "new_password": "another horse battery"}
    statuses = at_once(110, lambda _: field.client.post("/api/v1/auth/reset-password", body).status)
    return Result(110, 110 - statuses.count(422))


def one_link_at_once(field: Battlefield) -> Result:
    """Parallel uses of a good link, each with another password: one works."""
    email = field.person().email
    field.client.post("/api/v1/auth/forgot-password", {"email": email})
    token, *_ = eventually(lambda: _tokens(field, email, "reset-password"))
    statuses = at_once(
        110,
        lambda number: (
            field.client.post(
                "/api/v1/auth/reset-password", {"token": token, "new_password": f"another horse battery {number}"}
            ).status
        ),
    )
    return Result(110, abs(statuses.count(204) - 1))


def mails_to_one_address(field: Battlefield) -> Result:
    """Links and notices that somebody else causes, for all reasons together."""
    victim = field.person().email
    other = field.person()
    for number in range(15):
        address = field.address()
        field.client.post("/api/v1/auth/forgot-password", {"email": victim}, **address)
        field.client.post("/api/v1/auth/resend-verification", {"email": victim}, **address)
        field.client.put("/api/v1/auth/change-email", {"email": victim.upper(), "password": PASSWORD}, **other.headers)
        field.client.post(_USERS, {**somebody(), "email": victim, "name": f"Ada {number}"}, **address)
    last = field.person().email  # its mail is behind those of the attack
    eventually(lambda: _mails(field, last))
    return Result(60, abs(len(_mails(field, victim)) - 10))


def guesses_of_one_network(field: Battlefield) -> Result:
    """Wrong passwords for one account, then the right one, then for others: and somebody else signs in meanwhile."""
    person, other, attacker = field.person(), field.person(), field.address()
    statuses = at_once(200, lambda number: field.sign_in(person.email, f"wrong {number}", **attacker).status)
    through = abs(statuses.count(401) - 5) + statuses.count(200)
    through += field.sign_in(person.email, **attacker).status == 200
    accounts = at_once(100, lambda number: field.sign_in(f"{number}@example.com", "wrong", **attacker).status)
    through += max(0, accounts.count(401) - 20) + accounts.count(200)
    at_once(100, lambda number: field.sign_in(f"{number}@example.com", "wrong", **attacker).status)
    through += field.sign_in(other.email, **field.address()).status != 200
    return Result(401, through)


def guesses_of_many_networks(field: Battlefield) -> Result:
    """Wrong passwords for one account, each from another address."""
    person = field.person()
    statuses = at_once(150, lambda number: field.sign_in(person.email, f"wrong {number}", **field.address()).status)
    return Result(150, abs(statuses.count(401) - 50) + statuses.count(200))


def guesses_at_every_door(field: Battlefield) -> Result:
    """Wrong passwords wherever one is asked for: they count together."""
    person, attacker = field.person(), field.address()
    doors: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("POST", "/api/v1/auth/reauthenticate", "password", {}),
        ("PUT", "/api/v1/auth/two-step", "password", {"enabled": False}),
        ("PUT", "/api/v1/auth/change-email", "password", {"email": "mallory@example.com"}),
        ("PUT", "/api/v1/auth/change-password", "old_password", {"new_password": "another horse battery"}),
    )

    def guess(number: int) -> int:
        method, path, name, more = doors[number % len(doors)]
        ask = field.client.post if method == "POST" else field.client.put
        headers = {**person.headers, **attacker, "Prefer": "wait=10"}
        return ask(path, {name: f"wrong {number}", **more}, **headers).status

    statuses = at_once(100, guess)
    return Result(100, abs(statuses.count(403) - 5) + sum(200 <= status < 300 for status in statuses))


def another_password_at_a_link(field: Battlefield) -> Result:
    """Verification is required, and somebody else registers the victim's address as well: before, and after."""
    victims = [somebody() for _ in range(_NUMBER)]
    with field.other_settings(REQUIRE_EMAIL_VERIFICATION="true") as client:
        for number, victim in enumerate(victims):
            attacker = {**victim, "password": _ATTACKERS}
            for body in (attacker, victim) if number % 2 else (victim, attacker):
                client.post(_USERS, body, Prefer="wait=10", **field.address())
            client.post("/api/v1/auth/resend-verification", {"email": victim["email"]}, **field.address())
        through = 0
        for victim in victims:
            email = victim["email"]
            eventually(partial(_has_links, field, email, 3))
            for token in _tokens(field, email, "verify-email"):
                client.post("/api/v1/auth/verify-email", {"token": token, "password": PASSWORD}, **field.address())
            through += field.sign_in(email, _ATTACKERS, **field.address()).status != 401
            through += field.sign_in(email, **field.address()).status != 200
    return Result(_NUMBER, through)


def sessions_without_end(field: Battlefield) -> Result:
    """One account, signed in again and again; then deactivated, with the sessions that an old release left."""
    person = field.person()
    for _ in range(60):
        field.sign_in(person.email, **field.address())
    kept = field.number("select count(*) from sessions where user_id = %s and ended_at is null", person.id)
    field.rows(_MANY_SESSIONS, person.id)
    done = field.client.post(f"{_USERS}/{person.id}/deactivate", {}, Prefer="wait=10", **field.admin)
    left = field.number("select count(*) from sessions where user_id = %s and ended_at is null", person.id)
    return Result(60, abs(kept - 50) + left + (done.status != 200))


def refusals_without_a_trace(field: Battlefield) -> Result:
    """Refused for three reasons, again and again: a few log lines for each, without the token, and audit entries."""
    person, addresses = field.person(), [field.address() for _ in range(3)]
    forbidden, unknown, throttled = addresses
    canary = "eyJ0b2tlbiI6ImEgY2FuYXJ5In0"
    since = field.world.apis[0].mark()
    at_once(100, lambda _: field.client.get(_USERS, **person.headers, **forbidden))
    at_once(100, lambda _: field.client.get(_ME, Authorization=f"Bearer {canary}", **unknown))
    at_once(100, lambda _: field.sign_in("nobody@example.com", "wrong", **throttled))
    lines = field.world.apis[0].said(since)
    told = [
        sum("request refused" in line and address["X_Forwarded_For"] in line for line in lines) for address in addresses
    ]
    through = sum(not 0 < number <= 20 for number in told) + any(canary in line for line in lines)
    audited = field.number("select count(*) from audit_log where actor = %s and outcome = 'forbidden'", person.id)
    return Result(300, through + (not 0 < audited <= 20))


def overtaken_writes(field: Battlefield) -> Result:
    """Changes of one field without waiting: the last one accepted wins."""
    person = field.person()
    names = [f"Ada {number}" for number in range(40)]
    wrong = 0
    for before, last in pairwise(names):
        for name in (before, last):
            accepted = field.client.put(_ME, {"name": name}, **person.headers)
        field.client.outcome(accepted, **person.headers)
        wrong += eventually(lambda: field.client.get(_ME, **person.headers)).body["name"] != last
    return Result(2 * (len(names) - 1), wrong)


def large_requests(field: Battlefield) -> Result:
    """Bodies and headers of any size, with a length and without one, where a body is read and where none is."""
    head = f"Authorization: {field.admin['Authorization']}\r\nContent-Type: application/json\r\n"
    counted = (f"{head}Content-Length: {0x20000}\r\n", b"x" * 0x20000)
    chunked = (f"{head}Transfer-Encoding: chunked\r\n", b"10000\r\n" + b"x" * 0x10000 + b"\r\n1\r\nx\r\n0\r\n\r\n")
    statuses = [
        _raw(field, line, *content)
        for line in _LINES
        for content in (counted, chunked)  # no more than 64 KiB
    ]
    through = len(statuses) - statuses.count(413)
    for name in ("Accept", "Accept-Language", "Cookie", "If-Match", "Prefer"):
        statuses.append(_raw(field, "GET /api/v1/users/me", f"{name}: {'a,' * 50_000}\r\n"))
        through += statuses[-1] != 431
    return Result(len(statuses), through)


def heaps_of_marks(field: Battlefield) -> Result:
    """Bodies of nothing but combining marks: to normalize them would take long, of everybody's time."""
    heap = "\u0301\u0316" * 5000
    bodies = ((_USERS, {**somebody(), "name": heap}), (_LOGIN, {"username": heap, "password": PASSWORD}))
    statuses = at_once(60, lambda number: field.client.post(*bodies[number % 2]).status)
    return Result(60, 60 - statuses.count(422))


def odd_paths(field: Battlefield) -> Result:
    """Spellings of a path that a guard before the API would not know, and the router must not either."""
    paths = (
        "//metrics",
        "///metrics",
        "/./metrics",
        "/api/../metrics",
        "/metrics;x",
        "/metrics%00",
        "//docs",
        "/./docs",
    )
    statuses = [_raw(field, f"GET {path}") for path in paths]
    return Result(len(paths), len(paths) - statuses.count(404))


def registrations(field: Battlefield) -> Result:
    """Five hundred registrations from one address at once."""
    before, attacker = field.number("select count(*) from users"), field.address()
    statuses = at_once(500, lambda _: field.client.post(_USERS, somebody(), **attacker).status)
    accepted = statuses.count(202)
    eventually(lambda: field.number("select count(*) from users") >= before + accepted)
    return Result(500, abs(accepted - PER_ADDRESS))


def the_spool(field: Battlefield) -> Result:
    """Anonymous commands while the broker is away: half of the spool is for whoever is signed in.

    Those that are sent at the same time may exceed the half by their number.
    """
    person = field.person()
    field.world.network.refuse()
    try:
        body = {"email": "nobody@example.com"}
        statuses = at_once(6000, lambda _: field.client.post("/api/v1/auth/forgot-password", body).status)
        own = field.client.put(_ME, {"name": "Ada"}, **person.headers).status
    finally:
        field.world.network.accept()
    eventually(lambda: field.number("select count(*) from outbox") == 0)
    return Result(6000, max(0, statuses.count(202) - _SPOOLED_FOR_ANYBODY - AT_ONCE) + (own != 202))


def _raw(field: Battlefield, line: str, headers: str = "", body: bytes = b"") -> int:
    """The status of an answer to a request as it stands."""
    with socket.create_connection(("127.0.0.1", field.client.port), timeout=30) as connection:
        connection.sendall(f"{line} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n{headers}\r\n".encode() + body)
        return int(connection.makefile("rb").readline().split()[1])


def _mails(field: Battlefield, to: str) -> list[EmailMessage]:
    mails = (message_from_bytes(path.read_bytes(), policy=default) for path in field.world.mail.glob("*.eml"))
    return [mail for mail in mails if str(mail["To"]).lower() == to]


def _has_links(field: Battlefield, email: str, number: int) -> bool:
    return len(_tokens(field, email, "verify-email")) >= number


def _tokens(field: Battlefield, email: str, page: str) -> list[str]:
    """The tokens of the links that were mailed."""
    texts = (mail.as_string() for mail in _mails(field, email))
    return [token for text in texts for token in re.findall(rf"{page}\?token=([\w.-]+)", text)]


ATTACKS = (
    invalid_links,
    one_link_at_once,
    mails_to_one_address,
    guesses_of_one_network,
    guesses_of_many_networks,
    guesses_at_every_door,
    another_password_at_a_link,
    sessions_without_end,
    refusals_without_a_trace,
    overtaken_writes,
    large_requests,
    heaps_of_marks,
    odd_paths,
    registrations,
    the_spool,
)
