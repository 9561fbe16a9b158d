"""Every environment variable the program reads, typed and checked once at start."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from environs import Env

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"
DATABASE_URL_FILE = VAR / "database-url"
"""Where `make run` leaves the address of the embedded PostgreSQL for the other processes."""
CONTEXTS = (
    "auth",
    "notifications",
    "products",
    "users",
)

_SHORTEST_SECRET = 32
_KNOWN_SECRETS = ("change-me", "changeme", "secret", "development", "example", "please-change")
_KNOWN_PASSWORDS = {"", "guest", "postgres", "password", "admin", "root", "secret", "changeme"}
SYMMETRIC_ALGORITHMS = ("HS256", "HS384", "HS512")
ASYMMETRIC_ALGORITHMS = ("EdDSA", "ES256", "RS256")


class SettingsError(Exception):
    """The environment holds a value the program must not start with."""


@dataclass(frozen=True, repr=False)
class Settings:
    """The program's configuration. Never printed: it holds secrets."""

    app_env: str
    database_url: str
    database_read_url: str
    broker_url: str
    secret_keys: tuple[str, ...]
    """Newest first. The first seals and signs; every one of them opens and verifies."""
    jwt_algorithm: str
    jwt_secret: str
    """Several, newest first, with commas between them, while one replaces another."""
    jwt_private_key: str
    """PEM; several blocks, newest first, while one replaces another."""
    jwt_expire_minutes: int
    mail_url: str
    mail_from: str
    public_url: str
    cors_origins: tuple[str, ...]
    trusted_proxies: int
    require_email_verification: bool
    bcrypt_rounds: int
    log_format: str
    otlp_endpoint: str
    publish_deadline: float = 2.0
    """Seconds a request waits at most for its command to be accepted by broker or spool."""
    spool_limit: int = 10_000
    """Messages that may wait in the outbox before commands the broker cannot take are refused."""
    wait_slots: int = 32
    """Requests per API process that may wait for an outcome at the same time."""
    contexts: tuple[str, ...] = CONTEXTS
    """Whose routes this process answers, and whose queues it consumes."""

    @property
    def production(self) -> bool:
        return self.app_env == "production"

    @property
    def on_rabbitmq(self) -> bool:
        """False on the embedded filesystem transport, which has no confirms and no dead letters."""
        return self.broker_url.startswith(("amqp", "pyamqp"))


def load_settings() -> Settings:
    """Read the environment (and `.env` in development).

    Raises:
        SettingsError: a value is missing, malformed, or unsafe in production.
    """
    env = Env()
    if os.environ.get("APP_ENV", "development") != "production":
        env.read_env(str(ROOT / ".env"), recurse=False)
    app_env = env.str("APP_ENV", "development")
    if app_env not in ("development", "production"):
        raise SettingsError("APP_ENV must be 'development' or 'production'")
    developing = app_env == "development"
    jwt_algorithm = env.str("JWT_ALGORITHM", "HS256")
    database_url = env.str("DATABASE_URL", "") or (_embedded_database_url() if developing else "")
    settings = Settings(
        app_env=app_env,
        database_url=database_url,
        database_read_url=env.str("DATABASE_READ_URL", "") or database_url,
        broker_url=env.str("BROKER_URL", "") or ("filesystem://" if developing else ""),
        secret_keys=_listed(env.str("SECRET_KEYS", "") or _kept("secret-key", developing)),
        jwt_algorithm=jwt_algorithm,
        jwt_secret=env.str("JWT_SECRET", "") or _kept("jwt-secret", developing),
        # Where a variable cannot hold line breaks they are written as \\n.
        jwt_private_key=env.str("JWT_PRIVATE_KEY", "").replace("\\n", "\n")
        or (_kept(f"jwt-{jwt_algorithm}.pem", developing) if jwt_algorithm in ASYMMETRIC_ALGORITHMS else ""),
        jwt_expire_minutes=env.int("JWT_EXPIRE_MINUTES", 15),
        mail_url=env.str("MAIL_URL", "file:var/mail" if developing else ""),
        mail_from=env.str("MAIL_FROM", "no-reply@example.com"),
        public_url=env.str("PUBLIC_URL", f"http://127.0.0.1:{env.int('PORT', 8000)}").rstrip("/"),
        cors_origins=_listed(env.str("CORS_ORIGINS", "")),
        trusted_proxies=env.int("TRUSTED_PROXIES", 0),
        require_email_verification=env.bool("REQUIRE_EMAIL_VERIFICATION", False),
        bcrypt_rounds=env.int("BCRYPT_ROUNDS", 12),
        log_format=env.str("LOG_FORMAT", "text" if developing else "json"),
        otlp_endpoint=env.str("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        contexts=_listed(env.str("CONTEXTS", "")) or CONTEXTS,
    )
    problems = _malformed(settings) + (_unsafe(settings) if settings.production else [])
    if problems:
        raise SettingsError("refusing to start: " + "; ".join(problems))
    return settings


def _malformed(settings: Settings) -> list[str]:
    checks = {
        "JWT_ALGORITHM is not one of " + ", ".join(SYMMETRIC_ALGORITHMS + ASYMMETRIC_ALGORITHMS): (
            settings.jwt_algorithm not in SYMMETRIC_ALGORITHMS + ASYMMETRIC_ALGORITHMS
        ),
        "CONTEXTS must be some of " + ", ".join(CONTEXTS): not set(settings.contexts) <= set(CONTEXTS),
        "BCRYPT_ROUNDS must be 4 to 31": not 4 <= settings.bcrypt_rounds <= 31,
        "JWT_EXPIRE_MINUTES must be positive": settings.jwt_expire_minutes < 1,
        "TRUSTED_PROXIES must not be negative": settings.trusted_proxies < 0,
        "LOG_FORMAT must be 'json' or 'text'": settings.log_format not in ("json", "text"),
        "DATABASE_URL must begin with postgresql://": bool(settings.database_url)
        and not settings.database_url.startswith(("postgresql://", "postgres://")),
        "BROKER_URL must begin with amqp://, amqps:// or (development only) filesystem://": bool(settings.broker_url)
        and not settings.broker_url.startswith(("amqp://", "amqps://", "pyamqp://", "filesystem://")),
        "MAIL_URL must begin with smtp://, smtps:// or file:": bool(settings.mail_url)
        and not settings.mail_url.startswith(("smtp://", "smtps://", "file:")),
    }
    return [problem for problem, found in checks.items() if found]


def _unsafe(settings: Settings) -> list[str]:
    """What production must not run with."""
    symmetric = settings.jwt_algorithm in SYMMETRIC_ALGORITHMS
    broker, database = urlsplit(settings.broker_url), urlsplit(settings.database_url)
    checks = {
        "DATABASE_URL is missing": not settings.database_url,
        "DATABASE_URL carries a known default password": bool(database.username)
        and "@/" not in settings.database_url
        and (database.password or "") in _KNOWN_PASSWORDS,
        "BROKER_URL is missing": not settings.broker_url,
        "BROKER_URL must be RabbitMQ (amqp:// or amqps://)": bool(settings.broker_url) and not settings.on_rabbitmq,
        "BROKER_URL carries RabbitMQ's default or a known password": settings.on_rabbitmq
        and (broker.username in (None, "guest") or (broker.password or "") in _KNOWN_PASSWORDS),
        "SECRET_KEYS is missing, shorter than 32 characters, or a known default": _any_weak(settings.secret_keys),
        "JWT_SECRET is missing, shorter than 32 characters, or a known default": symmetric
        and _any_weak(_listed(settings.jwt_secret)),
        "JWT_PRIVATE_KEY is missing": not symmetric and not settings.jwt_private_key,
        "MAIL_URL is missing": not settings.mail_url,
    }
    return [problem for problem, found in checks.items() if found]


def _any_weak(found: tuple[str, ...]) -> bool:
    return not found or any(_weak(secret) for secret in found)


def _weak(secret: str) -> bool:
    known = any(word in secret.lower() for word in _KNOWN_SECRETS)
    return known or len(secret) < _SHORTEST_SECRET or len(set(secret)) < 8


def _embedded_database_url() -> str:
    return DATABASE_URL_FILE.read_text().strip() if DATABASE_URL_FILE.exists() else ""


def _listed(text: str) -> tuple[str, ...]:
    return tuple(item for item in map(str.strip, text.split(",")) if item)


def _kept(name: str, developing: bool) -> str:  # noqa: FBT001
    """Development's key of that name, made once under `var/` and kept; "" in production."""
    if not developing:
        return ""
    path = VAR / "keys" / name
    if not path.exists():
        keep_key(name, new_key(name), replace=False)
    return path.read_text()


def keep_key(name: str, content: str, *, replace: bool) -> None:
    """Write one of development's keys, whole or not at all: several processes start side by side."""
    path = VAR / "keys" / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with NamedTemporaryFile("w", dir=path.parent) as file:  # readable by its owner only
        file.write(content)
        file.flush()
        if replace:
            path.unlink(missing_ok=True)
        with suppress(FileExistsError):  # another process was quicker: its key is the one
            os.link(file.name, path)


def new_key(name: str) -> str:
    """A new key for the file of that name: PEM (PKCS #8) for `jwt-<algorithm>.pem`, else 48 random bytes as text."""
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    match name:
        case "jwt-EdDSA.pem":
            key = ed25519.Ed25519PrivateKey.generate()
        case "jwt-ES256.pem":
            key = ec.generate_private_key(ec.SECP256R1())
        case "jwt-RS256.pem":
            key = rsa.generate_private_key(65537, 3072)
        case _:
            return secrets.token_urlsafe(48)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode()
