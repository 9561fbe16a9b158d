"""What an operator reads, and what nobody may read."""

import json
import logging
import sqlite3
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
import structlog
from celery import Celery
from celery.beat import ScheduleEntry, Scheduler
from structlog.contextvars import clear_contextvars

from backend.kernel.delivery.envelope import QueueUnavailable
from backend.kernel.messages.message import Command
from backend.kernel.messages.secret import Secret
from backend.kernel.observe.logging import bind_request, bound, configure_logging
from tests.settings import settings_with

CANARY = "canary-7d1f"
log = structlog.get_logger("test")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    clear_contextvars()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


PRODUCTION = settings_with(app_env="production", log_format="json")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def fail(error: Exception) -> None:
    raise error


def raise_canary() -> None:
    raise sqlite3.IntegrityError(f"Key (email)=({CANARY}) already exists")


def test_production_writes_one_json_object_per_line_with_a_utc_time(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings_with(log_format="json"))
    log.info("mail_sent", attempts=2, note="two\nlines")
    [line] = lines(capsys)
    assert (line["event"], line["level"], line["logger"]) == ("mail_sent", "info", "test")
    assert (line["attempts"], line["note"]) == (2, "two\nlines")
    assert line["timestamp"].endswith("Z")
    assert "T" in line["timestamp"]


def test_development_writes_readable_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings_with(log_format="text"))
    log.info("mail_sent", attempts=2)
    text = capsys.readouterr().err
    assert "mail_sent" in text
    assert "attempts=2" in text
    assert not text.startswith("{")


def test_a_librarys_line_looks_like_ours_and_carries_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings_with(log_format="json"))
    bind_request("r-1", task="users.create_user")
    logging.getLogger("some.library").warning("retrying in %s s", 3)
    [line] = lines(capsys)
    assert (line["event"], line["logger"], line["level"]) == ("retrying in 3 s", "some.library", "warning")
    assert (line["request_id"], line["task"]) == ("r-1", "users.create_user")


def test_the_next_request_knows_nothing_of_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings_with(log_format="json"))
    bind_request("r-1", operation_id="o-1")
    bind_request("r-2")
    log.info("inside")
    [inside] = lines(capsys)
    assert inside["request_id"] == "r-2"
    assert "operation_id" not in inside


def test_values_bound_for_a_block_end_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings_with(log_format="json"))
    with bound(trace_id="abc"):
        log.info("inside")
    log.info("after")
    inside, after = lines(capsys)
    assert inside["trace_id"] == "abc"
    assert "trace_id" not in after


def test_configuring_again_changes_the_format_and_never_doubles_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings_with(log_format="text"))
    log.info("first")
    configure_logging(settings_with(log_format="json"))
    configure_logging(settings_with(log_format="json"))
    capsys.readouterr()
    log.info("second")
    assert [line["event"] for line in lines(capsys)] == ["second"]


def test_debug_lines_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings_with(log_format="json"))
    log.debug("detail")
    logging.getLogger("some.library").debug("detail")
    assert lines(capsys) == []


def test_an_exception_is_shown_by_type_and_place_and_not_by_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(PRODUCTION)
    try:
        raise_canary()
    except sqlite3.IntegrityError:
        log.exception("insert_failed")
    output = capsys.readouterr().err
    [link] = json.loads(output)["exception"]
    assert link["type"] == "sqlite3.IntegrityError"
    assert link["frames"][-1]["function"] == "raise_canary"
    assert link["frames"][-1]["file"] == __file__
    assert isinstance(link["frames"][-1]["line"], int)
    assert CANARY not in output


def test_the_cause_of_an_exception_is_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(PRODUCTION)
    try:
        try:
            raise_canary()
        except sqlite3.IntegrityError as error:
            raise RuntimeError(CANARY) from error
    except RuntimeError:
        log.exception("failed")
    output = capsys.readouterr().err
    assert [link["type"] for link in json.loads(output)["exception"]] == ["RuntimeError", "sqlite3.IntegrityError"]
    assert CANARY not in output


def test_the_members_of_an_exception_group_are_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(PRODUCTION)
    try:
        fail(ExceptionGroup("several", [KeyError(CANARY), ValueError(CANARY)]))
    except ExceptionGroup:
        log.exception("failed")
    output = capsys.readouterr().err
    types = [link["type"] for link in json.loads(output)["exception"]]
    assert types == ["ExceptionGroup", "KeyError", "ValueError"]
    assert CANARY not in output


def test_development_shows_the_text_and_the_source_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings_with(log_format="text"))
    try:
        raise_canary()
    except sqlite3.IntegrityError:
        log.exception("insert_failed")
    text = capsys.readouterr().err
    assert "in raise_canary" in text
    assert 'raise sqlite3.IntegrityError(f"Key' in text
    assert f"sqlite3.IntegrityError: Key (email)=({CANARY}) already exists" in text


def test_production_shows_the_source_line_and_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings_with(app_env="production", log_format="text"))
    try:
        raise_canary()
    except sqlite3.IntegrityError:
        log.exception("insert_failed")
    text = capsys.readouterr().err
    assert 'raise sqlite3.IntegrityError(f"Key' in text
    assert CANARY not in text


def test_development_shows_the_text_of_a_tasks_failure(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings_with(log_format="json"))
    context = {"name": "users.create_user", "exc": "ValueError('odd')", "traceback": "Traceback…"}
    logging.getLogger("celery.app.trace").error("Task %(name)s raised: %(exc)s", context, extra={"data": context})
    assert lines(capsys)[0]["event"] == "Task users.create_user raised: ValueError('odd')"


def test_the_message_of_our_own_exception_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings_with(log_format="json"))
    try:
        fail(QueueUnavailable("no confirm within 2 s"))
    except QueueUnavailable:
        log.exception("failed")
    [line] = lines(capsys)
    assert line["exception"][0]["type"].endswith(".QueueUnavailable: no confirm within 2 s")


def test_beat_says_in_one_line_that_it_could_not_publish(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every two seconds for as long as the broker is away, and Celery adds where it was, twice."""
    configure_logging(settings_with(log_format="text"))
    scheduler = Scheduler(Celery(), lazy=True)
    monkeypatch.setattr(scheduler, "apply_async", lambda *_, **__: fail(ConnectionRefusedError("refused")))
    scheduler.apply_entry(ScheduleEntry(name="the sweep", task="sweep", app=scheduler.app))
    (line,) = capsys.readouterr().err.splitlines()
    assert "ConnectionRefusedError" in line


def test_an_exception_given_as_a_value_or_argument_loses_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(PRODUCTION)
    error = sqlite3.OperationalError(CANARY)
    log.warning("failed", error=error)
    logging.getLogger("some.library").warning("failed: %s", error)
    logging.getLogger("some.library").error(error)
    output = capsys.readouterr().err
    assert output.count("sqlite3.OperationalError") == 3
    assert CANARY not in output


def test_why_a_connection_failed_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """It names servers, certificates and accounts, and no value."""
    configure_logging(PRODUCTION)
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect("postgresql://promise:kX93hd7sKq@127.0.0.1:1,127.0.0.1:2/x")
    log = logging.getLogger("psycopg.pool")
    log.warning("error connecting: %s", refused.value)
    log.warning("error connecting: %s", ssl.SSLCertVerificationError(1, "certificate has expired"))
    one, other = lines(capsys)
    assert "127.0.0.1" in one["event"]
    assert "Connection refused" in one["event"]
    assert "kX93hd7sKq" not in one["event"]
    assert "certificate has expired" in other["event"]


def test_a_tasks_failure_as_celery_logs_it_loses_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(PRODUCTION)
    try:
        raise_canary()
    except sqlite3.IntegrityError as error:
        context = {"name": "users.create_user", "exc": repr(error), "traceback": f"Traceback…\n{error}"}
        message = "Task %(name)s raised: %(exc)s\n%(traceback)s"
        logging.getLogger("celery.app.trace").exception(message, context, extra={"data": context})
    output = capsys.readouterr().err
    assert json.loads(output)["event"].strip() == "Task users.create_user raised: IntegrityError"
    assert CANARY not in output


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize(
    "name",
    ["password", "new_password", "access_token", "Authorization", "JWT_SECRET", "code", "challenge", "Idempotency-Key"],
)
def test_a_value_under_a_secret_name_is_masked(name: str, log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings_with(log_format=log_format))
    log.info("seen", **{name: CANARY}, body={"items": [{name: CANARY}]})
    text = capsys.readouterr().err
    assert name in text
    assert "•••" in text
    assert CANARY not in text


@dataclass(frozen=True)
class SignIn(Command):
    password: Secret


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_secret_is_masked_wherever_it_is(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings_with(log_format=log_format))
    secret = Secret(CANARY)
    log.info("seen", value=secret, nested=[{"a": (secret,)}], command=SignIn(secret))
    logging.getLogger("some.library").warning("seen %s %r", secret, SignIn(secret))
    assert CANARY not in capsys.readouterr().err


def test_a_value_json_does_not_know_is_written_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings_with(log_format="json"))
    log.info("seen", kind=complex(1, 2))
    [line] = lines(capsys)
    assert line["kind"] == "(1+2j)"
