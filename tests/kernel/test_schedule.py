"""Commands that run on schedule: when they are due, one at a time, and what is kept of each run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from backend.kernel.context import AnyContext, Context
from backend.kernel.http.caller import Authenticate, Caller
from backend.kernel.messages.authority import admin as admin_may
from backend.kernel.messages.message import Command
from backend.kernel.messages.refusals import Conflict
from backend.kernel.messages.registry import Handlers
from backend.kernel.messages.schedule import Schedule
from backend.program import CONTEXTS, Process
from backend.settings import ROOT
from tests.client import Client, believing
from tests.inline import InlineQueue

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Tidy(Command):
    """Put everything in its place."""


@dataclass(frozen=True)
class Water(Command):
    """Water what grows."""

    plants: int = 3


class NoWater(Conflict):
    """There is no water."""


class Chores:
    """A context that runs on schedule, and what it did."""

    def __init__(self) -> None:
        self.done: list[str] = []
        handlers = Handlers[None]("chores")

        @handlers.on(Tidy, every=timedelta(hours=1))
        def tidy(command: Tidy, ports: None) -> None:
            self.done.append("tidy")

        @handlers.on(Water, at=time(6, 30))
        def water(command: Water, ports: None) -> None:
            raise NoWater

        self.context: AnyContext = Context("chores", handlers, lambda _resources, _unit: None)


@pytest.fixture
def chores() -> Chores:
    return Chores()


@pytest.fixture
def contexts(chores: Chores) -> Sequence[AnyContext]:
    return [*CONTEXTS, chores.context]


@pytest.fixture
def authenticate() -> Authenticate:
    return believing({"admin": Caller(UUID(int=3), UUID(int=13), ("admin",))})


@pytest.fixture
def admin(app: Flask) -> Client:
    return Client(app, "admin")


def shown(admin: Client, name: str) -> dict[str, Any]:
    (found,) = (dict(item) for item in admin.get("/schedule").json["items"] if item["name"] == name)
    return found


def make_due(process: Process, ago: timedelta = timedelta(seconds=1)) -> None:
    with process.resources.database.transaction() as connection:
        connection.exec_driver_sql(f"update schedule set due_at = now() - interval '{ago.total_seconds()} s'")  # noqa: S608


def test_intervals_count_from_midnight_and_a_time_is_of_the_day() -> None:
    hourly, daily = Schedule(every=timedelta(hours=1)), Schedule(at=time(6, 30))
    assert hourly.after(NOON) == NOON + timedelta(hours=1)
    assert hourly.after(NOON - timedelta(seconds=1)) == NOON
    assert daily.after(NOON) == datetime(2026, 1, 3, 6, 30, tzinfo=UTC)
    assert daily.count(NOON, NOON + timedelta(days=3)) == 3
    assert (str(hourly), str(daily)) == ("every 3600 s", "daily at 06:30 UTC")


def test_a_command_that_cannot_run_on_schedule_is_refused_where_it_is_declared() -> None:
    @dataclass(frozen=True)
    class Needs(Command):
        """Needs a value."""

        value: int

    handlers = Handlers[None]("chores")
    with pytest.raises(TypeError):
        handlers.on(Needs, every=timedelta(hours=1))(lambda _command, _ports: None)
    with pytest.raises(TypeError):
        handlers.on(Tidy, every=timedelta(hours=1), may=admin_may)(lambda _command, _ports: None)
    with pytest.raises(ValueError, match="two seconds"):
        handlers.on(Tidy, every=timedelta(seconds=1))(lambda _command, _ports: None)
    with pytest.raises(ValueError, match="either"):
        handlers.on(Tidy, every=timedelta(hours=1), at=time(6))(lambda _command, _ports: None)
    with pytest.raises(ValueError, match="UTC"):
        handlers.on(Tidy, at=time(6, tzinfo=timezone(timedelta(hours=2))))(lambda _command, _ports: None)


def test_the_page_about_extending_declares_a_schedule_that_works() -> None:
    _, _, section = (ROOT / "docs/extending.md").read_text().partition("## A command on a schedule")
    code = section.split("```python\n")[1].split("```")[0]
    page = ModuleType("page")
    sys.modules["page"] = page  # dataclasses look there
    exec(code, page.__dict__)  # noqa: S102 - our own page
    assert [(one.name, str(one.schedule)) for one in page.handlers] == [
        ("wishlists.remind_owners", "daily at 06:30 UTC"),
        ("wishlists.close_old_wishlists", "every 3600 s"),
    ]
    del sys.modules["page"]


def test_what_is_due_runs_once_and_its_result_is_kept(
    admin: Client, process: Process, queue: InlineQueue, chores: Chores
) -> None:
    assert shown(admin, "chores.tidy")["last_run"] is None
    queue.sweep()
    assert chores.done == []
    make_due(process)
    for _ in range(3):
        queue.sweep()
    assert chores.done == ["tidy"]
    tidy, water = shown(admin, "chores.tidy"), shown(admin, "chores.water")
    assert (tidy["rule"], tidy["last_run"]["result"]) == ("every 3600 s", "succeeded")
    assert (water["rule"], water["last_run"]["result"]) == ("daily at 06:30 UTC", "no_water")
    assert datetime.fromisoformat(tidy["next_run_at"]) > datetime.now(UTC)


def test_runs_that_nobody_looked_for_are_caught_up_with_once_and_counted(
    admin: Client, process: Process, queue: InlineQueue, chores: Chores
) -> None:
    queue.sweep()
    with process.resources.database.transaction() as connection:
        connection.exec_driver_sql("update schedule set due_at = date_trunc('hour', now()) - interval '3 hours'")
    for _ in range(2):
        queue.sweep()
    assert chores.done == ["tidy"]
    assert shown(admin, "chores.tidy")["missed"] == 3


def test_a_run_that_has_not_ended_is_not_begun_again(admin: Client, process: Process, queue: InlineQueue) -> None:
    queue.sweep()
    queue.down = True
    for _ in range(2):
        make_due(process)
        process.sweep()
    found = shown(admin, "chores.tidy")
    assert (found["missed"], found["last_run"]["finished_at"], found["last_run"]["result"]) == (1, None, None)
    queue.down = False
    queue.sweep()
    queue.sweep()
    assert shown(admin, "chores.tidy")["last_run"]["result"] == "succeeded"


def test_operators_see_the_schedule_with_flask(app: Flask, process: Process) -> None:
    process.note_run("maintenance.purge", "every 3600 s", NOON, "succeeded")
    told = app.test_cli_runner().invoke(args=["schedule"]).output
    heading, *names = [line.split()[0] for line in told.splitlines()]
    assert (heading, names) == ("NAME", sorted(names))
    assert {"chores.tidy", "chores.water", "maintenance.purge"} <= {*names}


def test_the_schedule_is_for_administrators_only(app: Flask) -> None:
    assert Client(app).get("/schedule").status_code == 401
