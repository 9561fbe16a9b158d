"""An administrator, `flask`, and operations as workers leave them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from backend.kernel.http.caller import Authenticate, Caller
from backend.program import Process
from tests.client import Client, believing
from tests.inline import InlineQueue

ADMIN = UUID(int=3)
CALLERS = {"admin": Caller(ADMIN, UUID(int=13), ("admin",)), "ada": Caller(UUID(int=1), UUID(int=11), ())}
_ENDED = """
insert into operations (id, name, status, problem, request_id, actor, accepted_at, taken_at, worker, finished_at)
values (%(id)s, %(name)s, %(status)s, %(problem)s, %(request_id)s, %(actor)s,
        now() - make_interval(secs => %(ago)s + %(took)s),
        now() - make_interval(secs => %(ago)s + %(took)s - %(waited)s),
        'all@here',
        now() - make_interval(secs => %(ago)s))
"""


@pytest.fixture
def authenticate() -> Authenticate:
    return believing(CALLERS)


@pytest.fixture
def admin(app: Flask) -> Client:
    return Client(app, "admin")


@pytest.fixture
def flask(app: Flask, queue: InlineQueue) -> Callable[..., str]:
    """Run `flask …`; its output."""

    def run(*arguments: str, exit_code: int = 0) -> str:
        queue.drain()  # what it logs meanwhile would stand in the output
        result = app.test_cli_runner().invoke(args=list(arguments))
        assert result.exit_code == exit_code, result.output
        return str(result.output)

    return run


@pytest.fixture
def ended(process: Process) -> Callable[..., UUID]:
    """An operation that ended `ago` seconds ago, `took` after its acceptance; its message `waited` for a worker."""

    def write(name: str = "users.create_user", **given: Any) -> UUID:
        code = given.pop("code", None)
        row = {"request_id": None, "actor": None, "ago": 1.0, "took": 1.0, "waited": 0.0, **given}
        row |= {"id": uuid7(), "name": name, "status": "failed" if code else "succeeded"}
        row["problem"] = Jsonb({"code": code, "status": 409, "type": f"/problems/{code}"}) if code else None
        process.resources.database.read(lambda primary: primary.execute(_ENDED, row), fresh=True)
        return UUID(str(row["id"]))

    return write
