"""A Celery application is made from a program, and knows nothing of another one in the same process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.contexts.notifications.context import context as notifications
from backend.contexts.operators.context import context as operators
from backend.contexts.users.context import context as users
from backend.kernel.context import AnyContext
from backend.kernel.delivery.envelope import Envelope
from backend.program import Program
from tasks.app import ProgramApp, make_app
from tasks.queue import CeleryQueue
from tests.broker import waiting
from tests.settings import settings_with
from tests.tasks.conftest import Broker, envelope


def test_two_programs_live_side_by_side_in_one_process(broker: Broker, embedded_broker: Path) -> None:
    """Each has its own broker, settings, contexts, lanes and web application, whichever was made first."""
    ours = _app(users, broker_url=broker.url, public_url="https://ours.example")
    theirs = _app(notifications, operators, broker_url="filesystem://", public_url="https://theirs.example")
    sent, other = envelope(), envelope("notifications.mail")

    _send(ours, sent)
    _send(theirs, other)

    arrived = [message.properties["correlation_id"] for message in waiting(broker.url, "users.hashing")]
    assert str(sent.id) in arrived
    assert str(other.id) not in arrived
    (file,) = (embedded_broker / "messages").iterdir()
    assert json.loads(file.read_text())["properties"]["correlation_id"] == str(other.id)

    for app, task, lane, path in (
        (ours, "users.create_user", "users.hashing.anonymous", "/api/v1/users/{user_id}"),
        (theirs, "notifications.mail_low_stock", "notifications.mail", "/api/v1/audit"),
    ):
        beside = theirs if app is ours else ours
        assert task in app.tasks
        assert task not in beside.tasks
        assert lane in app.amqp.queues
        assert lane not in beside.amqp.queues
        assert path in _documented(app)
        assert path not in _documented(beside)
        assert app.process().settings is app.program.settings
        app.close_process()
    broker.channel.queue_purge("users.hashing")


def test_what_is_made_first_is_not_changed_by_what_is_made_later(broker: Broker) -> None:
    first = _app(users, broker_url=broker.url)
    before = dict(first.conf)
    _app(notifications, operators, broker_url="filesystem://")
    assert dict(first.conf) == before


@pytest.mark.usefixtures("embedded_broker")
def test_making_an_application_opens_nothing(tmp_path: Path) -> None:
    app = _app(users, operators, broker_url="filesystem://")
    assert _documented(app)
    assert list(tmp_path.iterdir()) == []
    app.close_process()


def _app(*contexts: AnyContext, **changes: str) -> ProgramApp:
    return make_app(Program(settings_with(**changes), contexts))


def _send(app: ProgramApp, message: Envelope) -> None:
    queue = CeleryQueue(app)
    queue.send(message, 10)
    queue.close()


def _documented(app: ProgramApp) -> set[str]:
    return set(app.process().web().test_client().get("/openapi.json").json["paths"])
