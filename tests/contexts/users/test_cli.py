"""`flask users …`, as an operator types it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result
from flask import Flask
from structlog.testing import capture_logs

from backend.contexts.users.application.queries import FindAccount, ListUsers, ProvePassword
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.messages.secret import Secret
from backend.program import Program
from backend.settings import Settings
from tests.client import Client
from tests.contexts.users.conftest import Person, Register
from tests.inline import InlineQueue
from tests.settings import settings_with

PASSWORD = "staple of the horse"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log lines of the worker thread stay out of what the operator sees."""
    monkeypatch.setenv("ADMIN_PASSWORD", PASSWORD)
    with capture_logs():
        yield


def flask(app: Flask, *arguments: str, **options: Any) -> Result:
    app.extensions["api"].bus.queue.drain()  # what it logs meanwhile would stand in the output
    return app.test_cli_runner().invoke(args=["users", *arguments], **options)


def test_an_admin_is_created_verified_and_with_the_password_of_the_environment(
    app: Flask, bus: Bus, settings: Settings
) -> None:
    done = flask(app, "create-admin", "--email", "Root@Example.com", "--name", " Root ")
    assert (done.exit_code, "root@example.com" in done.output) == (0, True)
    root = bus.ask(FindAccount(email="root@example.com"))
    assert root is not None
    assert (root.name, root.roles, root.email_verified, root.pending) == ("Root", ["admin"], True, False)
    assert bus.ask(ProvePassword(root.id, Secret(PASSWORD))) == 1


def test_the_password_of_an_admin_may_be_in_a_file(
    app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bus: Bus
) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    monkeypatch.delenv("ADMIN_PASSWORD")
    monkeypatch.setenv("ADMIN_PASSWORD_FILE", str(tmp_path / "password"))
    flask(app, "create-admin", "--email", "root@example.com", "--name", "Root")
    root = bus.ask(FindAccount(email="root@example.com"))
    assert root is not None
    assert bus.ask(ProvePassword(root.id, Secret(PASSWORD))) == 1


def test_without_the_environment_the_password_is_asked_for_twice_and_never_shown(
    app: Flask, monkeypatch: pytest.MonkeyPatch, bus: Bus
) -> None:
    monkeypatch.delenv("ADMIN_PASSWORD")
    typed = f"{PASSWORD}\n{PASSWORD}\n"
    done = flask(app, "create-admin", "--email", "root@example.com", "--name", "Root", input=typed)
    assert (done.exit_code, PASSWORD in done.output) == (0, False)
    assert bus.ask(FindAccount(email="root@example.com")) is not None


@pytest.mark.parametrize(
    ("email", "password", "reason"),
    [
        ("root", PASSWORD, "email:"),
        ("root@example.com", "password123", "most common passwords"),
        ("root@example.com", "short", "8 to 128"),
        ("root@example.com", "ROOT@example.com", "Must not be your e-mail address"),
        ("ada@example.com", PASSWORD, "The e-mail address is already registered"),
    ],
)
def test_an_admin_who_cannot_be_is_told_why_in_one_line(  # noqa: PLR0913, PLR0917 - three are a row of the table
    app: Flask, ada: Person, monkeypatch: pytest.MonkeyPatch, email: str, password: str, reason: str
) -> None:
    monkeypatch.setenv("ADMIN_PASSWORD", password)
    refused = flask(app, "create-admin", "--email", email, "--name", "Root")
    assert refused.exit_code == 1
    assert refused.output.startswith("Error: ")
    assert reason in refused.output
    assert "Traceback" not in refused.output


def test_users_are_listed_with_state_and_roles(app: Flask, register: Register) -> None:
    people = [register() for _ in range(3)]
    flask(app, "set-roles", people[0].id, "admin")
    flask(app, "deactivate", people[1].email)
    lines = flask(app, "list").output.splitlines()
    assert [line.split()[1] for line in lines] == [person.email for person in people[::-1]]
    assert [line.split()[-2:] for line in lines] == [["active", "-"], ["inactive", "-"], ["active", "admin"]]
    assert flask(app, "list", "--search", people[2].email).output.splitlines() == lines[:1]


def test_a_user_is_shut_out_let_in_and_given_roles_at_once(
    app: Flask, ada: Person, admin: Client, queue: InlineQueue
) -> None:
    for arguments, seen in (
        (("deactivate", "ADA@example.com"), (False, [])),
        (("activate", ada.id), (True, [])),
        (("set-roles", ada.email, "admin"), (True, ["admin"])),
    ):
        assert flask(app, *arguments).output == "Done.\n"
        view = admin.get(ada.path).json
        assert (view["is_active"], view["roles"]) == seen
    queue.drain()
    announced = [key for key, event in queue.announced if event["subject"] == ada.id]
    assert announced[1:] == [f"users.user_{what}.v1" for what in ("deactivated", "activated", "roles_changed")]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("deactivate", "nobody@example.com"), "The user does not exist."),
        (("activate", "00000000-0000-0000-0000-000000000000"), "The user does not exist."),
        (("activate", "nobody"), "user:"),
        (("set-roles", "ada@example.com", "owner"), "owner"),
    ],
)
def test_what_cannot_be_done_is_told(app: Flask, ada: Person, arguments: tuple[str, ...], reason: str) -> None:
    refused = flask(app, *arguments)
    assert refused.exit_code != 0
    assert reason in refused.output


def test_hashes_are_counted_by_key_and_cost_so_that_an_earlier_key_can_go(
    app: Flask, register: Register, sql: Callable[..., Any]
) -> None:
    people = [register() for _ in range(3)]
    (line,) = flask(app, "hashes").output.splitlines()
    assert line.endswith("(newest)  cost 4  3")
    sql("update users set password_hash = 'nobody$2b$12$' || repeat('.', 53) where id = %s", people[0].id)
    assert sorted(flask(app, "hashes").output.splitlines()) == sorted(
        ["nobody (earlier)  cost 12  1", line.removesuffix("3") + "2"]
    )


def test_the_last_admin_stays(app: Flask, ada: Person) -> None:
    flask(app, "set-roles", ada.email, "admin")
    assert "last active admin" in flask(app, "set-roles", ada.email).output


@pytest.mark.parametrize("settings", [{"require_email_verification": True}], indirect=True)
def test_an_admin_takes_an_address_that_others_only_wait_for(app: Flask, visitor: Client, bus: Bus) -> None:
    visitor.post("/users", {"name": "Eve", "email": "root@example.com", "password": PASSWORD})
    assert flask(app, "create-admin", "--email", "root@example.com", "--name", "Root").exit_code == 0
    root = bus.ask(FindAccount(email="root@example.com"))
    assert root is not None
    assert root.name == "Root"


@pytest.mark.parametrize("settings", [{"require_email_verification": True}], indirect=True)
def test_an_address_names_who_has_it_not_who_waits_for_it(app: Flask, visitor: Client, bus: Bus) -> None:
    flask(app, "create-admin", "--email", "root@example.com", "--name", "Root")
    visitor.post("/users", {"name": "Eve", "email": "root@example.com", "password": PASSWORD})
    flask(app, "create-admin", "--email", "other@example.com", "--name", "Other")
    assert flask(app, "deactivate", "root@example.com").output == "Done.\n"
    states = {user.name: user.is_active for user in bus.ask(ListUsers(limit=10)).items}
    assert states == {"Root": False, "Eve": True, "Other": True}


@pytest.mark.parametrize(
    ("timeout", "told"),
    [
        ("lock_timeout", "PostgreSQL is busy: another transaction holds a lock for too long."),
        ("statement_timeout", "PostgreSQL is busy: it cancelled what took longer than a timeout."),
    ],
)
@pytest.mark.parametrize(
    "command", ["users list", "users create-admin --email root@example.com --name Root", "search-keys"]
)
def test_a_locked_table_is_told_from_a_server_that_is_away(
    clean_database: str, command: str, timeout: str, told: str
) -> None:
    settings = settings_with(database_url=f"{clean_database}&options=-c%20{timeout}%3D20ms")
    process = Program(settings).process(InlineQueue())
    with psycopg.connect(clean_database) as other:
        other.execute("lock table users")
        done = process.web().test_cli_runner().invoke(args=command.split())
    process.close()
    assert (done.exit_code, done.stderr) == (1, f"Error: {told}\n")
