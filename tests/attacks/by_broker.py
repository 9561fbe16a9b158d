"""What somebody does who reaches RabbitMQ, and has none of our keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from msgspec import structs
from uuid_utils.compat import uuid7

from backend.contexts.users.application.commands import CreateUser, SetRoles
from backend.contexts.users.domain.events import PasswordResetRequested
from backend.contexts.users.domain.user import PersonName
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.secret import Secret
from tests.attacks.field import PASSWORD, Battlefield, Result, days_ago
from tests.worker import eventually

_NUMBER = 20
_FOREIGN: list[dict[str, Any]] = [
    {"eta": "2099-01-01T00:00:00+00:00"},
    {"expires": "2001-01-01T00:00:00+00:00"},
    {"timelimit": [0.001, 0.001]},
    {"retries": 1000},
    {"chain": [{"task": "users.set_roles"}], "callbacks": [{}], "errbacks": [{}], "chord": {}},
    {"root_id": ["x"], "parent_id": {}, "origin": "x" * 3000, "stamps": 7, "stamped_headers": "x"},
    {"x-delivery-count": 99, "x-death": "x"},
]
"""What Celery and RabbitMQ may obey, and no signature covers."""
_ORDERS: dict[str, dict[str, Any]] = {
    "revoke": {"task_id": "x", "terminate": True},
    "revoke_by_stamped_headers": {"headers": {"a": "b"}},
    "terminate": {"task_id": "x", "signal": "KILL"},
    "rate_limit": {"task_name": "users.create_user", "rate_limit": "1/h"},
    "time_limit": {"task_name": "users.create_user", "soft": 0.01, "hard": 0.02},
    "add_consumer": {"queue": "stolen"},
    "cancel_consumer": {"queue": "users.hashing"},
    "autoscale": {"max": 50, "min": 1},
    "pool_grow": {"n": 50},
    "pool_shrink": {"n": 2},
    "pool_restart": {},
    "election": {"id": "x", "topic": "x", "action": "x"},
    "memdump": {"samples": 10**9},
    "objgraph": {"num": 10**6},
    "shutdown": {},
}


def forged_orders(field: Battlefield) -> Result:
    """An administrator's order, from somebody who only knows the administrator's id."""
    victim, admin_id = field.person().id, field.client.get("/api/v1/users/me", **field.admin).body["id"]
    order = {"user_id": victim, "roles": ["admin"]}
    with field.buried(_NUMBER):
        for number in range(_NUMBER // 2):
            field.forge("users.set_roles", "users.commands", order, actor=admin_id)
            # A message that names an unknown key is retried. It must not go round for ever.
            envelope = {"actor": admin_id, "mac": f"{number}:AAAA"}
            headers = {"task": "users.set_roles", "id": str(uuid7()), "retries": -(10**9), "envelope": envelope}
            field.publish("users.commands", order, headers)
    return Result(_NUMBER, len(field.rows("select 1 from users where id = %s and 'admin' = any(roles)", victim)))


def altered_copies(field: Battlefield) -> Result:
    """A genuine message with another address in it."""
    with field.buried(_NUMBER):
        for number in range(_NUMBER):
            message = field.genuine()
            field.copy(message, {**message.body, "email": f"mallory{number}@example.com"})
    return Result(_NUMBER, field.number("select count(*) from users where email like 'mallory%%'"))


def recorded_copies(field: Battlefield) -> Result:
    """A genuine message, published again when its operation is no longer kept."""
    with field.buried(_NUMBER):
        for _ in range(_NUMBER):
            message = field.genuine()
            headers = structs.replace(message.headers, accepted_at=days_ago(31))
            message = field.ours.process().resources.sealer.signed(replace(message, headers=headers))
            field.copy(message)
    reasons = "select count(*) from dead_letters where reason = 'expired'"
    return Result(_NUMBER, _NUMBER - field.number(reasons))


def copies_with_other_headers(field: Battlefield) -> Result:
    """Copies of messages under way, with headers that make Celery drop, delay or end a task: each takes effect once."""
    messages = [(field.genuine(), foreign) for foreign in _FOREIGN]
    for message, foreign in messages:
        field.copy(message, **foreign)
        field.copy(message)
    ids = [message.id for message, _ in messages]
    done = "select count(*) from operations where id = any(%s) and status = 'succeeded'"
    eventually(lambda: field.number(done, ids) == len(ids))
    return Result(2 * len(ids), len(ids) - field.number("select count(*) from users where id = any(%s)", ids))


def moved_secrets(field: Battlefield) -> Result:
    """The sealed token of somebody's reset mail, in a message to oneself; even one that is signed."""
    resources = field.ours.process().resources
    with field.buried(_NUMBER):
        for number in range(_NUMBER):
            event = PasswordResetRequested(uuid7(), "ada@example.com", "Ada", "en", Secret("the token of the link"))
            (mail,) = (one for one in resources.codec.of_event(event, uuid7()) if one.lane == "notifications.mail")
            mine = replace(mail, id=uuid7(), body={**mail.body, "email": f"thief{number}@example.com"})
            field.copy(resources.sealer.signed(mine))
    return Result(_NUMBER, sum("thief" in path.read_text() for path in field.world.mail.glob("*.eml")))


def remote_control(field: Battlefield) -> Result:
    """Every order that Celery knows, and orders to forget commands before they arrive."""
    control, ids = field.ours.control, [uuid7() for _ in range(_NUMBER)]
    answers = {
        order: control.broadcast(order, arguments=arguments, reply=True, timeout=10, limit=2)
        for order, arguments in _ORDERS.items()
    }
    followed = [order for order, answer in answers.items() if "refused" not in str(answer)]
    for operation_id in ids:
        control.revoke(str(operation_id))
    for operation_id in ids:
        command = CreateUser(operation_id, PersonName("Ada"), f"{operation_id}@example.com", Secret(PASSWORD))
        field.ours.process().bus.dispatch(command, operation_id)
    eventually(lambda: field.number("select count(*) from operations where id = any(%s)", ids) == _NUMBER)
    lost = _NUMBER - field.number("select count(*) from users where id = any(%s)", ids)
    return Result(_NUMBER + len(_ORDERS), lost + len(followed))


def odd_messages(field: Battlefield) -> Result:
    """Messages whose headers no parser expects, and one of many megabytes: each is recorded, none keeps the next up."""
    odd: list[Any] = [{"an": "object"}, "NUL\0", ["list"], 7, "\ud800", "x" * 5000, None, True, 1e300, -(2**60)]
    before = field.number("select count(*) from dead_letters")
    with field.buried(2 * len(odd) + 1):
        field.forge("users.set_roles", "users.commands", {"numbers": [1] * 10_000_000})
        for value in odd:
            field.forge("nobody.knows", "users.commands", {}, request_id=value)
            field.publish("users.commands", {}, {"task": "users.set_roles", "id": str(uuid7()), "envelope": value})
    recorded = field.number("select count(*) from dead_letters") - before
    return Result(2 * len(odd) + 1, 2 * len(odd) + 1 - recorded)


def orders_of_a_former_administrator(field: Battlefield) -> Result:
    """Accepted while they were one, delivered when they no longer are."""
    former, victim = field.person(), field.person()
    bus, ids = field.ours.process().bus, [uuid7() for _ in range(_NUMBER)]
    token = current_origin.set(Origin(actor=UUID(former.id)))
    for operation_id in ids:
        bus.dispatch(SetRoles(UUID(victim.id), ["admin"]), operation_id)
    current_origin.reset(token)
    refused = "select count(*) from operations where id = any(%s) and problem ->> 'code' = 'forbidden'"
    eventually(lambda: field.number("select count(*) from operations where id = any(%s)", ids) == _NUMBER)
    return Result(_NUMBER, _NUMBER - field.number(refused, ids))


ATTACKS = (
    forged_orders,
    altered_copies,
    recorded_copies,
    copies_with_other_headers,
    moved_secrets,
    remote_control,
    odd_messages,
    orders_of_a_former_administrator,
)
