"""What the program refuses to start with: each refusal is one sentence, and holds no secret."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend import settings
from backend.contexts.auth.infrastructure.settings import AuthSettings
from backend.contexts.notifications.infrastructure.mail_server import Tls, mail_server
from backend.contexts.notifications.infrastructure.settings import MailSettings
from backend.program import load_program
from backend.settings import ROOT, Settings, SettingsError

CANARY = "kX93hd7sKq"
KEY, OTHER_KEY = "b9fX2kq7Lw3zT8vN5mR1yC6dH4jP0sGa", "u7Qe1ZxV9nB3cM5kL8hJ2gF6dS4aP0oI"
PRODUCTION = {
    "APP_ENV": "production",
    "DATABASE_URL": f"postgresql://promise:{CANARY}@db/promise",
    "BROKER_URL": f"amqp://promise:{CANARY}@broker/promise",
    "SECRET_KEYS": KEY,
    "JWT_SECRET": OTHER_KEY,
    "MAIL_URL": f"smtp://shop:{CANARY}@mail.example.com",
    "PUBLIC_URL": "https://shop.example",
}


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


def _refusal(monkeypatch: pytest.MonkeyPatch, **changes: str) -> str:
    with pytest.raises(SettingsError) as refusal:
        _load(monkeypatch, {**PRODUCTION, **changes})
    sentence = str(refusal.value)
    assert "\n" not in sentence
    for secret in (CANARY, KEY, OTHER_KEY):
        assert secret[:6] not in sentence
    return sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BCRYPT_ROUNDS", "4"),
        ("BCRYPT_ROUNDS", "9"),
        ("BCRYPT_ROUNDS", "17"),
        ("JWT_EXPIRE_MINUTES", "61"),
        ("JWT_EXPIRE_MINUTES", "1000000"),
        ("PUBLIC_URL", "http://shop.example"),
        ("PUBLIC_URL", "shop.example"),
        ("PUBLIC_URL", "https://user:pw@shop.example"),
        ("PUBLIC_URL", "https://[shop"),
        ("MAIL_URL", "file:var/mail"),
        ("MAIL_URL", f"smtp://shop:{CANARY}@mail.example.com?tls=none"),
        ("MAIL_URL", f"smtp://shop:{CANARY}@8.8.8.8?tls=none"),
        ("MAIL_URL", "smtp://mail.example.com?tls=sometimes"),
        ("MAIL_URL", f"smtp://shop:{CANARY}/x@mail.example.com"),
        ("SECRET_KEYS", f"coming:{KEY}"),
        ("SECRET_KEYS", "coming:short," + KEY),
        ("PORT", "0"),
        ("PORT", "99999"),
        ("PORT", "eighty"),
        ("TRUSTED_PROXIES", "-1"),
        ("BROKER_CA_FILE", "/nowhere/ca.pem"),
        ("BROKER_MANAGEMENT_URL", "http://guest:guest@broker:15672"),
        ("BROKER_MANAGEMENT_URL", "http://promise:password@broker:15672"),
        ("CORS_ORIGINS", "https://app.example.org,http://shop.example"),
        ("CORS_ORIGINS", "http://*.shop.example"),
        ("CORS_ORIGINS", "http://[shop"),
        ("BROKER_MANAGEMENT_URL", "http://[broker"),
        ("DATABASE_READ_URL", "postgresql://promise:postgres@replica/promise"),
        ("DATABASE_DIRECT_URL", "postgresql://promise@db/promise"),
    ],
)
def test_production_refuses_known_bad_settings(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert name in _refusal(monkeypatch, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAIL_URL", "smtp://127.0.0.1:1025"),
        ("MAIL_URL", "smtp://mailpit:1025?tls=none"),
        ("MAIL_URL", "smtp://10.1.2.3?tls=none"),
        ("MAIL_URL", "smtps://mail.example.com"),
        ("PUBLIC_URL", "http://localhost:8000"),
        ("PUBLIC_URL", "http://127.0.0.1:8000/backend"),
        ("CORS_ORIGINS", "https://app.example.org,http://localhost:5173,capacitor://localhost"),
        ("BROKER_MANAGEMENT_URL", f"http://reader:{CANARY}@broker:15672"),
        ("JWT_EXPIRE_MINUTES", "60"),
        ("BCRYPT_ROUNDS", "10"),
        ("SECRET_KEYS", f"{KEY},coming:{KEY[::-1]}"),
        ("DATABASE_URL", "postgresql:///promise?host=/run/postgresql"),
        ("DATABASE_URL", "postgresql:///?service=promise"),
        ("DATABASE_URL", f"postgresql://promise:{CANARY}@a:1,b:2/promise?target_session_attrs=read-write"),
        ("DATABASE_URL", f"host=a,b dbname=promise user=promise password={CANARY}"),
        ("BROKER_URL", f"amqps://u:{CANARY}@a/v;amqps://u:{CANARY}@b/v;"),
    ],
)
def test_production_starts_with_what_is_safe(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert _load(monkeypatch, {**PRODUCTION, name: value}).production


@pytest.mark.parametrize(
    "url",
    [
        f"amqp://u:{CANARY}@a/v;amqp://guest:guest@b/v",
        f"amqp://u:{CANARY}@a/v;amqp://b/v",
        f"amqp://u:{CANARY}@a/v;filesystem://",
        f"amqp://u:{CANARY}@a/v,amqp://u:{CANARY}@b/v",
        f"amqp://u:{CANARY}@a:5672,b:5672/v",
        f"amqp://u:{CANARY}@a,b/v",
        f"amqp://u:{CANARY}/w@a/v",
        f"amqp://u:123/{CANARY}@a/v",
        f"amqp://u:{CANARY}#w@a/v",
        f"amqp://u:{CANARY}?w@a/v",
        f"amqp://u:{CANARY}@[a/v",
        f"amqp://u:{CANARY}@a:port/v",
        f"amqp://u:{CANARY}@a/v;redis://b",
        "amqp://u:%67uest@a/v",
        f"amqp://u:{CANARY}@a/v?userid=guest&password=guest",
        f"amqp://u:{CANARY}@a/v?heartbeat=10",
        f"amqp://u:{CANARY}@a/v#w",
        f"amqp://u:%C9{CANARY}@a/v",
    ],
)
def test_every_broker_of_a_list_is_checked(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert "BROKER_URL" in _refusal(monkeypatch, BROKER_URL=url)


def test_a_password_of_the_mail_server_that_is_not_escaped_is_named_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for url in (f"smtps://u:{CANARY}/w@mail", f"smtps://u:%C9{CANARY}@mail"):
        assert "MAIL_URL" in _refusal(monkeypatch, MAIL_URL=url)


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_READ_URL", "DATABASE_DIRECT_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        f"postgresql://promise:{CANARY}/w@db/promise",
        f"postgresql://promise:{CANARY}@db:port/promise",
        f"postgresql://promise:{CANARY}@db:5432,standby:65536/promise",
        f"postgresql://promise:{CANARY}@db/promise?no_such_option=1",
        f"postgresql://promise:%zz{CANARY}@db/promise",
        f"postgresql://promise:%C9{CANARY}@db/promise",
        f"postgresql://promise:w@{CANARY}@db/promise",
        f"user=promise password={CANARY} ='",
    ],
)
def test_an_address_that_libpq_does_not_take_is_named_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    assert name in _refusal(monkeypatch, **{name: url})


@pytest.mark.parametrize(
    ("changes", "other"),
    [
        ({"JWT_SECRET": KEY}, "SECRET_KEYS"),
        ({"JWT_SECRET": f"{OTHER_KEY},{KEY}"}, "SECRET_KEYS"),
        ({"SECRET_KEYS": f"{KEY},coming:{OTHER_KEY}"}, "SECRET_KEYS"),
        ({"BROKER_URL": f"amqp://promise:{OTHER_KEY}@broker/promise"}, "BROKER_URL"),
        ({"DATABASE_URL": f"postgresql://promise:{OTHER_KEY}@db/promise"}, "DATABASE_URL"),
    ],
)
def test_no_secret_is_used_for_two_things(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], other: str) -> None:
    sentence = _refusal(monkeypatch, **changes)

    assert "JWT_SECRET" in sentence
    assert other in sentence


@pytest.mark.parametrize(
    "name",
    ["SECRET_KEYS", "JWT_SECRET", "DATABASE_URL", "DATABASE_READ_URL", "DATABASE_DIRECT_URL", "BROKER_URL", "MAIL_URL"],
)
def test_a_secret_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    given = {"DATABASE_READ_URL": PRODUCTION["DATABASE_URL"], "DATABASE_DIRECT_URL": PRODUCTION["DATABASE_URL"]}
    plain = _load(monkeypatch, {**PRODUCTION, **given})
    secret = tmp_path / "secret"
    monkeypatch.delenv(name)
    monkeypatch.setenv(f"{name}_FILE", str(secret))

    for written in ("{}\n", "\ufeff{}\r\n"):  # the latter by an editor of Windows
        secret.write_text(written.format({**PRODUCTION, **given}[name]))
        assert load_program().settings == plain


def test_a_private_key_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pem = tmp_path / "key.pem"
    pem.write_text(settings.new_key("jwt-EdDSA.pem"))
    environment = {**PRODUCTION, "JWT_ALGORITHM": "EdDSA", "JWT_PRIVATE_KEY_FILE": str(pem)}
    assert _load(monkeypatch, environment).of(AuthSettings).jwt_private_key == pem.read_text().strip()


@pytest.mark.parametrize("name", ["SECRET_KEYS", "DATABASE_URL", "BROKER_URL", "MAIL_URL", "JWT_SECRET"])
def test_a_secret_given_twice_or_not_at_all_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PRODUCTION[name])
    assert f"{name}_FILE" in _refusal(monkeypatch, **{f"{name}_FILE": str(secret)})

    monkeypatch.delenv(name)
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "missing"))
    with pytest.raises(SettingsError, match=f"{name}_FILE cannot be read"):
        load_program()


def test_links_in_mails_never_travel_in_the_clear_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    mail_url = _load(monkeypatch, PRODUCTION).of(MailSettings).mail_url
    assert mail_server(mail_url).tls is Tls.STARTTLS


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "backend.development"),
        ("-m", "tasks.topology"),
        ("-c", "import wsgi"),
        ("-m", "flask", "--app", "wsgi", "routes"),
        ("-m", "celery", "-A", "tasks.app", "worker"),
        ("-m", "celery", "-A", "tasks.app", "beat"),
        ("-m", "alembic", "current"),
    ],
    ids=" ".join,
)
def test_every_program_ends_with_the_sentence_and_no_traceback(command: tuple[str, ...]) -> None:
    environment = {**os.environ, **PRODUCTION, "BROKER_URL": f"amqp://u:{CANARY}/w@a/v"}
    ended = subprocess.run(
        (sys.executable, *command), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    said = (ended.stdout + ended.stderr).strip()
    assert ended.returncode != 0
    assert said.startswith("refusing to start: BROKER_URL")
    assert len(said.splitlines()) == 1
    assert CANARY not in said
