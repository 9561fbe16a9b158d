from __future__ import annotations

import os
import re
from pathlib import Path

import psycopg
import pytest

from backend import settings
from backend.contexts.auth.infrastructure.settings import AuthSettings
from backend.contexts.notifications.infrastructure.settings import MailSettings
from backend.program import CONTEXTS, load_program
from backend.settings import Settings, SettingsError, load_settings
from tests import deployment

PRODUCTION = {
    "APP_ENV": "production",
    "DATABASE_URL": "postgresql://promise:kX93hd7sKq@db/promise",
    "BROKER_URL": "amqp://promise:kX93hd7sKq@broker/promise",
    "SECRET_KEYS": "b9fX2kq7Lw3zT8vN5mR1yC6dH4jP0sGa",
    "JWT_SECRET": "u7Qe1ZxV9nB3cM5kL8hJ2gF6dS4aP0oI",
    "MAIL_URL": "smtp://mail:25",
}
_EVERY = {context.name for context in CONTEXTS}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No .env of the developer's, and another directory to write to."""
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    monkeypatch.setattr(settings, "VAR", tmp_path / "var")
    monkeypatch.setattr(settings, "DATABASE_URL_FILE", tmp_path / "var/database-url")


def _load(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_program().settings


def test_development_needs_no_setting() -> None:
    assert not load_program().settings.on_rabbitmq


def test_the_values_of_the_example_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = load_program().settings
    examples = {name: value for name, value in deployment.examples().items() if name in _names()}
    assert _load(monkeypatch, examples) == defaults


def test_development_makes_its_secrets_once_and_for_itself(tmp_path: Path) -> None:
    first = load_program().settings

    assert load_program().settings == first
    assert first.secret_keys != (first.of(AuthSettings).jwt_secret,)
    for kept in (tmp_path / "var/keys").iterdir():
        assert kept.stat().st_mode & 0o077 == 0


def test_development_finds_the_embedded_database(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var/database-url").write_text("postgresql://embedded/x\n")

    assert load_settings().database_url == "postgresql://embedded/x"


def test_development_uses_no_other_database_of_this_machine_while_its_own_is_down() -> None:
    with pytest.raises(psycopg.OperationalError, match="var/postgres"):
        psycopg.connect(load_settings().database_url)


def test_a_variable_outdoes_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAIL_FROM=file@example.com\nPUBLIC_URL=https://file.example.com\n")
    monkeypatch.setenv("PUBLIC_URL", "https://set.example.com/")
    monkeypatch.setitem(os.environ, "MAIL_FROM", "")  # the file's value is taken into the environment: undo it later
    monkeypatch.delenv("MAIL_FROM")

    found = load_program().settings

    assert (found.of(MailSettings).mail_from, found.public_url) == ("file@example.com", "https://set.example.com")


def test_production_reads_no_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAIL_FROM=file@example.com\n")

    assert _load(monkeypatch, PRODUCTION).of(MailSettings).mail_from == "no-reply@example.com"


def test_production_writes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _load(monkeypatch, PRODUCTION)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(PRODUCTION.keys() - {"APP_ENV"}))
def test_production_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is missing"):
        _load(monkeypatch, {key: value for key, value in PRODUCTION.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROKER_URL", "amqp://guest:guest@broker/"),
        ("BROKER_URL", "amqp://guest:kX93hd7sKq@broker/"),
        ("BROKER_URL", "amqp://broker/"),
        ("BROKER_URL", "filesystem://"),
        ("DATABASE_URL", "postgresql://postgres:postgres@db/x"),
        ("DATABASE_URL", "postgresql://postgres@db/x"),
        ("SECRET_KEYS", "short"),
        ("SECRET_KEYS", PRODUCTION["SECRET_KEYS"] + ",short"),
        ("SECRET_KEYS", "a" * 64),
        ("JWT_SECRET", "change-me-" + PRODUCTION["JWT_SECRET"]),
        ("JWT_ALGORITHM", "EdDSA"),
    ],
)
def test_production_refuses_what_is_known_or_weak(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        _load(monkeypatch, {**PRODUCTION, name: value})

    assert name.replace("ALGORITHM", "PRIVATE_KEY") in str(refusal.value)
    assert "kX93hd7sKq" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_ENV", "staging"),
        ("JWT_ALGORITHM", "none"),
        ("BCRYPT_ROUNDS", "3"),
        ("JWT_EXPIRE_MINUTES", "0"),
        ("TRUSTED_PROXIES", "-1"),
        ("LOG_FORMAT", "xml"),
        ("DATABASE_URL", "sqlite://"),
        ("BROKER_URL", "redis://localhost"),
        ("MAIL_URL", "http://mail"),
        ("CONTEXTS", "users,typing-error"),
        ("CONTEXTS", "-typing-error"),
    ],
)
def test_a_malformed_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        _load(monkeypatch, {name: value})


@pytest.mark.parametrize(
    ("contexts", "served"),
    [
        ("", _EVERY),
        ("auth, users", {"auth", "users"}),
        ("-auth, -users", _EVERY - {"auth", "users"}),
        ("auth, users, -users", {"auth"}),
    ],
)
def test_a_process_serves_every_context_unless_some_are_named(
    monkeypatch: pytest.MonkeyPatch, contexts: str, served: set[str]
) -> None:
    found = _load(monkeypatch, {"CONTEXTS": contexts})
    assert {name for name in _EVERY if found.serves(name)} == served


def test_who_needs_the_settings_of_the_kernel_alone_may_be_told_of_any_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Migrations run with the environment of the service beside them."""
    monkeypatch.setenv("CONTEXTS", "users")
    assert load_settings().serves("users")


def test_lists_may_be_written_with_spaces_and_end_in_a_comma(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _load(monkeypatch, {"CORS_ORIGINS": "https://a.example, https://b.example", "SECRET_KEYS": "new, old,"})
    assert found.cors_origins == ("https://a.example", "https://b.example")
    assert found.secret_keys == ("new", "old")


def test_docker_compose_gives_production_all_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = PRODUCTION["SECRET_KEYS"]
    given = dict.fromkeys(deployment.variables(deployment.services()), "")
    names = ("POSTGRES_PASSWORD", "RABBITMQ_WORKER_PASSWORD", "SECRET_KEYS", "JWT_SECRET")
    given |= {name: f"{number}{secret}" for number, name in enumerate(names)}
    environment = deployment.services()["worker"]["environment"]

    found = _load(monkeypatch, deployment.interpolated(environment, {**given, "PUBLIC_URL": "https://example.com"}))

    assert found.production
    assert found.of(MailSettings).mail_url == "smtp://mailpit:1025?tls=none"


def test_settings_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.search("kX93hd7sKq|b9fX2|u7Qe1", repr(_load(monkeypatch, PRODUCTION))) is None


def _names() -> set[str]:
    return deployment.read_by(*deployment.SETTINGS)


def test_a_directory_that_cannot_be_written_to_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "var").touch()  # no directory
    monkeypatch.setattr(settings, "VAR", tmp_path / "var")
    with pytest.raises(SettingsError, match="var/keys/secret-key cannot be written: "):
        settings.keep_key("secret-key", "", replace=True)
