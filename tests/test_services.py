"""One code base, several services: CONTEXTS says which routes an API answers and which queues a worker consumes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from backend.contexts.users.application.commands import CreateAdmin
from backend.contexts.users.domain.user import PersonName
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.messages.secret import Secret
from backend.program import Program
from backend.settings import ROOT, new_key
from tests import deployment
from tests.inline import InlineQueue
from tests.settings import settings_with
from tests.worker import environment

ACCOUNTS, CATALOGUE = (deployment.served_by(service) for service in ("accounts", "catalogue"))
SIGN_IN, OPERATIONS = ("auth", "users"), ("notifications", "operators")
"""Two services of our own."""
ROOT_USER = {"email": "root@example.com", "password": "correct horse battery"}
_KEY = new_key("jwt-EdDSA.pem")
_ID = UUID("01900000-0000-7000-8000-00000000000a")
_LANES = set(Program(settings_with()).registry.lanes())
_USERS, _MAIL = ({lane for lane in _LANES if lane.startswith(name)} for name in ("users.", "notifications."))
_ASK = """
from celery.signals import celeryd_after_setup
from tasks.app import app
celeryd_after_setup.send(sender="worker", instance=None, conf=app.conf)
print(*app.amqp.queues.consume_from)
print(*app.amqp.queues)
"""
Service = Callable[[tuple[str, ...]], FlaskClient]


@pytest.fixture
def service(clean_database: str, tmp_path: Path, queue: InlineQueue) -> Iterator[Service]:
    """Starts a service of those contexts. The queue is the broker between the services; the newest is the worker."""
    with ExitStack() as stack:
        yield lambda contexts: stack.enter_context(_running(contexts, clean_database, tmp_path, queue)).test_client()


@contextmanager
def _running(contexts: tuple[str, ...], database_url: str, mail: Path, queue: InlineQueue) -> Iterator[Flask]:
    signing = {"jwt_algorithm": "EdDSA", "jwt_private_key": _KEY}
    settings = settings_with(database_url=database_url, mail_url=f"file:{mail}", served=contexts, **signing)
    process = queue.process = Program(settings).process(queue)
    app = process.web()
    assert process.resources.listener.start(timeout=10)
    yield app
    queue.drain()
    process.close()


def signed_in(accounts: FlaskClient) -> dict[str, str]:
    """The headers of an administrator."""
    bus: Bus = accounts.application.extensions["api"].bus
    bus.execute(CreateAdmin(_ID, PersonName("Root"), ROOT_USER["email"], Secret(ROOT_USER["password"])))
    tokens = accounts.post("/api/v1/auth/login", json=ROOT_USER).json
    return {"Authorization": f"Bearer {tokens['access_token']}", "Prefer": "wait=10"}


@pytest.mark.parametrize(
    ("contexts", "answered", "unknown"),
    [
        (OPERATIONS, ["/audit", "/dead-letters"], ["/users", "/users/me", "/auth/login", "/auth/sessions"]),
        (SIGN_IN, ["/users/me", "/auth/login", "/auth/register"], ["/audit", "/dead-letters"]),
    ],
)
def test_a_service_answers_the_routes_of_its_contexts_and_404_for_the_others(
    service: Service, contexts: tuple[str, ...], answered: list[str], unknown: list[str]
) -> None:
    client = service(contexts)
    for path in answered:
        assert client.get(f"/api/v1{path}").status_code != 404
    for path in unknown:
        assert client.get(f"/api/v1{path}").json["code"] == "not_found"
    documented = client.get("/openapi.json").json["paths"]
    assert {f"/api/v1{path}" for path in answered} <= documented.keys()
    assert not {f"/api/v1{path}" for path in unknown} & documented.keys()


@pytest.mark.parametrize("contexts", [CATALOGUE, ACCOUNTS])
def test_every_service_has_what_belongs_to_no_context(service: Service, contexts: tuple[str, ...]) -> None:
    client = service(contexts)
    for path in ("/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json", "/problems/email_taken"):
        assert client.get(path).status_code == 200
    for path in ("/api/v1/dead-letters", "/api/v1/audit"):
        assert client.get(path).status_code == 401
    assert client.get("/.well-known/jwks.json").status_code == (200 if "auth" in contexts else 404)


def test_a_session_of_one_service_is_known_and_ended_in_the_other(service: Service) -> None:
    sign_in, operations = service(SIGN_IN), service(OPERATIONS)
    headers = signed_in(sign_in)
    assert operations.get("/api/v1/audit", headers=headers).status_code == 200
    assert operations.get("/api/v1/audit").status_code == 401

    assert sign_in.post("/api/v1/auth/logout", headers=headers).status_code == 204
    assert operations.get("/api/v1/audit", headers=headers).status_code == 401


def test_an_operation_of_one_service_is_found_in_the_other(service: Service) -> None:
    sign_in, operations = service(SIGN_IN), service(OPERATIONS)
    headers = {**signed_in(sign_in), "Prefer": "respond-async"}
    accepted = sign_in.patch("/api/v1/users/me", json={"name": "Ada"}, headers=headers)
    operation = operations.get(accepted.headers["Location"], headers={**headers, "Prefer": "wait=10"}).json
    assert (operation["command"], operation["status"]) == ("users.update_profile", "succeeded")


def test_events_of_one_service_reach_the_queues_of_the_other(service: Service, queue: InlineQueue) -> None:
    sign_in, _operations = service(SIGN_IN), service(OPERATIONS)
    signed_in(sign_in)
    assert sign_in.post("/api/v1/auth/forgot-password", json={"email": ROOT_USER["email"]}).status_code == 202
    queue.drain()
    assert "notifications.mail" in [envelope.lane for envelope in queue.sent]


@pytest.mark.parametrize(
    ("contexts", "lanes", "consumed"),
    [
        ("notifications", "", _MAIL | {"maintenance"}),
        ("notifications", "codes", {"notifications.codes"}),
        ("-users,-auth", "", _LANES - _USERS | {"maintenance"}),
        ("notifications", "hashing", {"maintenance"}),
        (
            "users, auth",
            "commands,hashing",
            {"users.commands", "users.commands.anonymous", "users.hashing", "users.hashing.anonymous"},
        ),
        ("", "hashing", {"users.hashing", "users.hashing.anonymous"}),
        ("", "", _LANES | {"maintenance"}),
    ],
)
def test_a_worker_consumes_the_queues_of_its_contexts_and_publishes_to_all(
    contexts: str, lanes: str, consumed: set[str]
) -> None:
    """A worker for which there is nothing else keeps house: told to consume nothing, Celery consumes everything."""
    answer = subprocess.run(
        (sys.executable, "-c", _ASK),
        env=environment(CONTEXTS=contexts, LANES=lanes, BROKER_URL="amqp://nowhere.invalid"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    ours, all_of_them = answer.stdout.splitlines()
    assert set(ours.split()) == consumed
    assert set(all_of_them.split()) == _LANES | {"maintenance"}
