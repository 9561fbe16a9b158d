"""What is tried around the API: at its settings, at Flower, and by waiting until something is old."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import monotonic

from tests.attacks.field import PASSWORD, Battlefield, Result, somebody
from tests.flow.client import Client
from tests.flow.programs import free_port
from tests.worker import Program, environment, eventually

_KEY, _OTHER_KEY = "b9fX2kq7Lw3zT8vN5mR1yC6dH4jP0sGa", "u7Qe1ZxV9nB3cM5kL8hJ2gF6dS4aP0oI"
_PRODUCTION = {
    "APP_ENV": "production",
    "DATABASE_URL": "postgresql://promise:kX93hd7sKq@db/promise",
    "BROKER_URL": "amqp://promise:kX93hd7sKq@broker/promise",
    "SECRET_KEYS": _KEY,
    "JWT_SECRET": _OTHER_KEY,
    "MAIL_URL": "smtp://shop:kX93hd7sKq@mail.example.com",
    "PUBLIC_URL": "https://shop.example",
    "FRONTEND_URL": "",
    "BCRYPT_ROUNDS": "12",
}
_UNSAFE = (
    ("BCRYPT_ROUNDS", "4"),
    ("JWT_EXPIRE_MINUTES", "1000000"),
    ("PUBLIC_URL", "http://shop.example"),
    ("MAIL_URL", "file:var/mail"),
    ("MAIL_URL", "smtp://shop:kX93hd7sKq@mail.example.com?tls=none"),
    ("JWT_SECRET", _KEY),
    ("SECRET_KEYS", "change-me"),
    ("BROKER_URL", "amqp://guest:guest@broker/promise"),
)
_ORDERS = (
    "/api/task/async-apply/users.set_roles",
    "/api/task/send-task/users.set_roles",
    "/api/task/apply/users.set_roles",
    "/api/task/revoke/x?terminate=true",
    "/api/task/rate-limit/users.create_user?ratelimit=1/h",
    "/api/worker/shutdown/x",
    "/api/worker/pool/grow/x?n=50",
    "/api/worker/queue/cancel-consumer/x?queue=users.hashing",
)
_READS = ("/", "/tasks", "/api/tasks", "/api/workers")
_PASSWORD = "a:b"
_MONTH = 31
_TRIES = 20


def a_web_page_at_flower(field: Battlefield) -> Result:
    """What a web page can ask of Flower, without the password and with the one that the browser kept."""
    page = {"Origin": "https://elsewhere.example", "Content_Type": "text/plain"}
    kept = {**page, "Authorization": f"Basic {b64encode(_PASSWORD.encode()).decode()}"}
    with _flower(field) as flower:
        strange = [flower.get(path, **page) for path in _READS] + [flower.post(path, {}, **page) for path in _ORDERS]
        reads = [flower.get(path, **kept) for path in _READS]
        orders = [flower.post(path, {}, **kept) for path in _ORDERS]
    answers = [*strange, *reads, *orders]
    through = sum(answer.status not in (401, 403) for answer in (*strange, *orders))
    through += sum(answer.status != 200 for answer in reads)  # or Flower did not know the password at all
    through += sum("Access-Control-Allow-Origin" in answer.headers for answer in answers)
    return Result(len(answers), through)


def refusals_timed(field: Battlefield) -> Result:
    """Wrong passwords after BCRYPT_ROUNDS was lowered: the time must not tell who has an account."""
    person = somebody()
    with field.other_settings(BCRYPT_ROUNDS="12") as client:
        client.post("/api/v1/users", person, Prefer="wait=10", **field.address())
    took: dict[str, list[float]] = {person["email"]: [], "nobody@example.com": []}
    with field.other_settings(BCRYPT_ROUNDS="10") as client:
        for _ in range(_TRIES):
            for email, times in took.items():
                begun = monotonic()
                wrong = {"email": email, "password": "wrong"}
                assert client.post("/api/v1/auth/login", wrong, **field.address()).status == 401
                times.append(monotonic() - begun)
    known, unknown = (median(times) for times in took.values())
    return Result(2 * _TRIES, int(max(known, unknown) > 1.5 * min(known, unknown)))


def handles_of_last_month(field: Battlefield) -> Result:
    """Operations under an Idempotency-Key, read when they are kept no longer: unknown, not pending for ever."""
    person, client = field.person(), field.world.apis[1].client
    locations = []
    for number in range(_TRIES):
        accepted = client.put(
            "/api/v1/users/me", {"name": f"Ada {number}"}, Idempotency_Key=str(number), **person.headers
        )
        field.client.outcome(accepted, **person.headers)
        locations.append(accepted.headers["Location"])
    old = "update operations set finished_at = finished_at - make_interval(days => %s) where actor = %s returning id"
    field.rows(old, _MONTH, person.id)
    field.ours.process().purge()
    field.world.clock.set(_MONTH * 86400)
    try:
        tokens = client.post("/api/v1/auth/login", {"email": person.email, "password": PASSWORD}).body
        later = {"Authorization": f"Bearer {tokens['access_token']}"}
        statuses = [client.get(location, **later).status for location in locations]
    finally:
        field.world.clock.set(0)
    return Result(_TRIES, _TRIES - statuses.count(404))


def accounts_that_verify_nothing(field: Battlefield) -> Result:
    """Registered while verification was required, used since it is not: the purge deletes no account in use."""
    people = [somebody() for _ in range(_TRIES)]
    with field.other_settings(REQUIRE_EMAIL_VERIFICATION="true") as client:
        for person in people:
            client.post("/api/v1/users", person, Prefer="wait=10", **field.address())
    emails = [person["email"] for person in people]
    statuses = [field.sign_in(email, **field.address()).status for email in emails]
    old = "update users set created_at = created_at - make_interval(days => %s) where email = any(%s) returning id"
    field.rows(old, _MONTH, emails)
    field.ours.process().purge()
    kept = field.number("select count(*) from users where email = any(%s)", emails)
    return Result(_TRIES, _TRIES - statuses.count(200) + _TRIES - kept)


def unsafe_settings(field: Battlefield) -> Result:
    """Production, started with settings that are known to be bad, one at a time; with none of them it starts."""
    through = sum(_starts(**{name: value}) for name, value in _UNSAFE)
    return Result(len(_UNSAFE), through + (not _starts()))


def _starts(**changes: str) -> bool:
    arguments = ("--app", "wsgi", "routes")
    with Program("flask", "flask", *arguments, environment=environment(**_PRODUCTION | changes)) as command:
        return command.ended() == 0


@contextmanager
def _flower(field: Battlefield) -> Iterator[Client]:
    """As `make run` starts it."""
    port, settings = free_port(), {**field.world.environment, "FLOWER_BASIC_AUTH": _PASSWORD}
    arguments = ("-A", "tasks.app", "flower", "--address=127.0.0.1", f"--port={port}", "--read_only", "--logging=error")
    with Program("flower", "celery", *arguments, environment=settings):
        client = Client(f"http://127.0.0.1:{port}")
        eventually(lambda: _is_up(client))
        yield client


def _is_up(client: Client) -> bool:
    try:
        return client.get("/healthcheck").status == 200
    except OSError:
        return False


ATTACKS = (
    a_web_page_at_flower,
    handles_of_last_month,
    accounts_that_verify_nothing,
    unsafe_settings,
    refusals_timed,  # last: from then on every sign-in costs what the most expensive hash does
)
