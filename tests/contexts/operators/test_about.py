"""What runs, as administrators see it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from backend.program import CONTEXTS, Process
from tests.client import Client


def test_it_names_what_runs_and_no_secret(admin: Client, process: Process) -> None:
    answer = admin.get("/about")
    assert (answer.json["environment"], answer.json["commit"]) == ("development", "")
    assert {context.name for context in CONTEXTS} <= set(answer.json["contexts"])
    assert answer.json["limits"]["spool_limit"] == process.settings.spool_limit
    assert answer.json["limits"]["bcrypt_rounds"] == 4
    assert [key["use"] for key in answer.json["keys"]] == ["signs"]
    assert (answer.json["migrations_pending"], answer.json["migrations_unknown"]) == ([], [])
    secrets = [*process.settings.secret_keys, process.settings.database_url, "test-jwt"]
    assert [secret for secret in secrets if secret in answer.text] == []


@pytest.mark.parametrize("settings", [{"secret_keys": ("n" * 40, "o" * 40, "coming:" + "c" * 40)}], indirect=True)
def test_one_key_signs_and_every_other_verifies(admin: Client, flask: Callable[..., str]) -> None:
    found = admin.get("/about").json["keys"]
    assert [key["use"] for key in found] == ["signs", "verifies", "verifies"]
    assert f"keys        {found[0]['id']} signs, {found[1]['id']} verifies" in flask("about")


@pytest.mark.parametrize("settings", [{"commit": "abc1234"}], indirect=True)
def test_the_commit_is_that_of_the_environment(admin: Client, flask: Callable[..., str]) -> None:
    assert admin.get("/about").json["commit"] == "abc1234"
    assert "commit abc1234" in flask("about")


def test_a_migration_that_is_missing_or_too_new_is_told(
    admin: Client, process: Process, flask: Callable[..., str]
) -> None:
    with process.resources.database.transaction() as connection:
        (applied,) = connection.exec_driver_sql("select array_agg(version_num) from alembic_version").scalars()
    newest = admin.get("/about").json
    assert newest["migrations_pending"] == []
    try:
        with process.resources.database.transaction() as connection:
            connection.exec_driver_sql("delete from alembic_version")
            connection.exec_driver_sql("insert into alembic_version values ('from-the-future')")
        found = admin.get("/about").json
        assert set(applied) <= set(found["migrations_pending"])
        assert found["migrations_unknown"] == ["from-the-future"]
        assert "from-the-future unknown to this code" in flask("about")
        assert "migrations_pending" in {warning["code"] for warning in admin.get("/status").json["warnings"]}
        assert "Run `alembic upgrade heads`" in flask("status")
    finally:
        with process.resources.database.transaction() as connection:
            connection.exec_driver_sql("delete from alembic_version")
            for revision in applied:
                connection.exec_driver_sql("insert into alembic_version values (%s)", (revision,))


def test_only_administrators_see_it(app: Flask) -> None:
    assert Client(app).get("/about").status_code == 401
    assert Client(app, "ada").get("/about").status_code == 403
