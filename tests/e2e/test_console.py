"""The console in Chromium: every page and every act, by mouse and by keyboard, on a phone and on a screen.

tests/e2e/console.mjs is the user. It needs `playwright-core`, from the packages of examples/web or where PLAYWRIGHT
says. Screenshots are in `var/e2e`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg
import pytest
from flask import Flask, Response
from sqlalchemy import make_url
from uuid_utils.compat import uuid7
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server

from backend.contexts.users.application.commands import CreateAdmin, CreateUser, RequestPasswordReset
from backend.contexts.users.domain.user import PersonName
from backend.kernel.delivery import dead_letters
from backend.kernel.delivery.dead_letters import Reason
from backend.kernel.messages.message import Command
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.secret import Secret
from backend.kernel.observe import workers
from backend.kernel.observe.workers import Report
from backend.program import Process
from backend.settings import ROOT, VAR, Settings
from tests.client import PASSWORD, Client
from tests.inline import InlineQueue
from tests.postgres import Postgres, migrate
from tests.settings import settings_with

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Acts = dict[str, Callable[[], object]]
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
MODULES = Path(os.environ.get("PLAYWRIGHT", ROOT / "examples/web"))
CANARY = "a secret that nobody may read"
_LATE = """
insert into operations (id, name, status, accepted_at, taken_at, worker)
values ('01900000-0000-7000-8000-0000000000e2', 'users.activate_user', 'succeeded', now() - interval '8 s', now(),
    'all@here')
"""

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not (CHROMIUM and shutil.which("node") and (MODULES / "node_modules/playwright-core").exists()),
        reason="browser tests need Node 20, Chromium and one `make e2e`",
    ),
]


@pytest.fixture
def database(postgres_server: Postgres) -> str:
    """A new database on a server that the test may stop."""
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS console_test WITH (FORCE)")
        connection.execute("CREATE DATABASE console_test")
    url = make_url(postgres_server.url).set(database="console_test").render_as_string(hide_password=False)
    migrate(url)
    return url


@pytest.fixture
def settings(database: str, tmp_path: Path) -> Settings:
    return settings_with(database_url=database, mail_url=f"file:{tmp_path}/mail", commit="abc1234")


@pytest.fixture
def acts(process: Process, queue: InlineQueue, postgres_server: Postgres) -> Acts:
    """What happens around the page; the script asks for it by name."""
    return {
        "broker-down": lambda: setattr(queue, "down", True),
        "broker-up": lambda: setattr(queue, "down", False),
        "database-down": postgres_server.stop,
        "database-up": postgres_server.start,
        "sweep": queue.sweep,
        "two-step": lambda: _execute(process, "update users set two_step = true where email = 'root@example.com'"),
    }


SHOWS = {
    "Which lane is behind, by how much, since when?": (["users.commands", "behind by 8.0 s"], "8 s"),
    "What is each worker doing?": (["all@here", "products.create_product"], "products.create_product"),
    "How long does each command take, from acceptance to outcome?": (
        ["Commands in the last hour", "users.create_user"],
        "P95",
    ),
    "What failed in the last hour, and why?": (["1 \N{MULTIPLICATION SIGN} email_taken"], "1 email_taken"),
    "Where is the command of a user?": (["Requests of ada@example.com", "users.create_user"], "users.create_user"),
    "Where is the command of a request?": (["Timeline", "email_taken"], "email_taken"),
    "What does this deployment run?": (["abc1234", "signs and seals"], "commit abc1234"),
}
"""What answers each of the questions in docs/operating.md: on the page, and in the output of the command."""


def questions() -> list[tuple[str, list[dict[str, str]], list[str]]]:
    """The table of docs/operating.md: question, steps in the console, arguments of `flask`."""
    page = (ROOT / "docs/operating.md").read_text()
    rows = page.partition("| question | in the console, from the overview | command |\n")[2].partition("\n\n")[0]
    found = []
    for row in rows.splitlines()[1:]:
        question, way, command = (cell.strip() for cell in row.strip("|").split("|"))
        steps = [{"typed": step.strip("`")} if step.startswith("`") else {"name": step} for step in way.split(" > ")]
        found.append((question, steps, shlex.split(command.strip("`"))[1:]))
    return found


def test_each_question_is_answered_by_one_command(app: Flask, process: Process) -> None:
    _furnish(app, process)
    assert [question for question, _, _ in questions()] == list(SHOWS)
    for question, _, arguments in questions():
        result = app.test_cli_runner().invoke(args=arguments)
        assert SHOWS[question][1] in result.output, f"{question}\n{result.output}"


@pytest.mark.parametrize(
    "screen",
    [
        ("1280", "light", "mouse"),
        ("390", "dark", "keyboard"),
        ("1280", "dark", "keyboard"),
        ("390", "light", "mouse"),
    ],
    ids="-".join,
)
def test_an_operators_day(
    app: Flask, process: Process, acts: Acts, tmp_path: Path, screen: tuple[str, str, str]
) -> None:
    _furnish(app, process)
    with _served(app, acts) as url:
        ended = subprocess.run(
            ("node", ROOT / "tests/e2e/console.mjs"),
            env={
                **os.environ,
                "URL": url,
                "WIDTH": screen[0],
                "SCHEME": screen[1],
                "INPUT": screen[2],
                "QUESTIONS": json.dumps(
                    [{"path": steps, "shows": SHOWS[question][0]} for question, steps, _ in questions()]
                ),
                "CHROMIUM": CHROMIUM,
                "MODULES": f"{MODULES}/",
                "MAIL": f"{tmp_path}/mail",
                "PASSWORD": PASSWORD,
                "CANARY": CANARY,
                "SCREENSHOTS": str(VAR / "e2e"),
            },
            check=False,
            capture_output=True,
            text=True,
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@contextmanager
def _served(app: Flask, acts: Acts) -> Iterator[str]:
    def act(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        acts[environ["PATH_INFO"].strip("/")]()
        return Response(status=204)(environ, start_response)

    server = make_server("127.0.0.1", 0, DispatcherMiddleware(app, {"/_test": act}), threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()


def _execute(process: Process, statement: str) -> None:
    with process.resources.database.transaction() as connection:
        connection.exec_driver_sql(statement)


def _furnish(app: Flask, process: Process) -> None:
    """An administrator, users, operations, dead letters, a worker."""
    anybody = Client(app)
    process.bus.execute(CreateAdmin(UUID(int=3), PersonName("Root"), "root@example.com", Secret(PASSWORD)))
    for name in ("ada", "boris"):
        answer = anybody.post("/users", {"name": name.title(), "email": f"{name}@example.com", "password": PASSWORD})
        assert answer.status_code == 201
    again = {"name": "A", "email": "ada@example.com", "password": PASSWORD}
    assert anybody.post("/users", again, X_Request_ID="request-of-a-test").status_code == 409
    anybody.sign_in("ada@example.com")
    current_origin.set(Origin(request_id="from-a-test"))
    with process.resources.database.transaction() as connection:
        for number in range(3):
            letter = _given_up(process, RequestPasswordReset(f"{number}@example.com"), uuid7(), KeyError())
            dead_letters.record(connection, letter)
        for number in range(2):
            letter = _given_up(process, RequestPasswordReset(f"{number}@example.com"), uuid7(), OSError())
            dead_letters.record(connection, letter)
            user_id = uuid7()
            new = CreateUser(user_id, PersonName("New"), f"new{number}@example.com", Secret(CANARY))
            dead_letters.record(connection, _given_up(process, new, user_id, ZeroDivisionError()))
        connection.exec_driver_sql(_LATE)
    busy = [{"task": "products.create_product", "id": str(uuid7()), "since": datetime.now(UTC).isoformat()}]
    told = Report("all@here", ["users.hashing"], busy, {}, 2, 2**27, datetime.now(UTC), 0)
    process.resources.database.read(lambda primary: workers.report(primary, told), fresh=True)


def _given_up(process: Process, command: Command, message_id: UUID, error: Exception) -> dead_letters.DeadLetter:
    return dead_letters.of_fault(process.resources.codec.of_command(command, message_id), Reason.FAULT, error)
