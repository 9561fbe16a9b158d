"""The environment variables that the program reads, typed and checked once at start.

Here stand those of the kernel. A context declares its own as a `ContextSettings`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Protocol, Self, TypeVar
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from environs import Env

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"
DATABASE_URL_FILE = VAR / "database-url"
"""Where `make run` leaves the address of the embedded PostgreSQL for the other processes."""

_NOT = "-"
"""Before the name of a context that this process does not serve."""
_SHORTEST_SECRET = 32
_KNOWN_SECRETS = ("change-me", "changeme", "secret", "development", "example", "please-change")
_KNOWN_PASSWORDS = {"", "guest", "postgres", "password", "admin", "root", "secret", "changeme"}


class SettingsError(Exception):
    """The environment holds a value the program must not start with."""


class Environment:
    """The variables, as a context's settings read them.

    Attributes:
        developing: whether what is missing may be made up.
        read: the variables of the process, by type: `read.str("NAME", default)`.
    """

    def __init__(self, read: Env, *, developing: bool) -> None:
        self.read = read
        self.developing = developing

    def secret(self, variable: str, file_name: str) -> str:
        """A key from its variable; in development one that is made once under `var/` and kept."""
        given = self.read.str(variable, "")
        return given or (_kept(file_name) if self.developing else "")


class ContextSettings(Protocol):
    """A context's own settings: a frozen dataclass that reads itself."""

    @classmethod
    def load(cls, environment: Environment) -> Self:
        """From the environment."""

    def problems(self, *, production: bool) -> Iterator[str]:
        """Each reason why the program must not start with them, in a sentence without secrets."""


C = TypeVar("C", bound=ContextSettings)


@dataclass(frozen=True, repr=False)
class Settings:
    """The kernel's configuration, and that of the contexts. Never printed: it holds secrets."""

    app_env: str
    database_url: str
    database_read_url: str
    broker_url: str
    secret_keys: tuple[str, ...]
    """Newest first. The first seals and signs; every one of them opens and verifies."""
    public_url: str
    cors_origins: tuple[str, ...]
    trusted_proxies: int
    log_format: str
    otlp_endpoint: str
    publish_deadline: float = 2.0
    """Seconds a request waits at most for its command to be accepted by broker or spool."""
    spool_limit: int = 10_000
    """Messages that may wait in the outbox before commands the broker cannot take are refused."""
    wait_slots: int = 32
    """Requests per API process that may wait for an outcome at the same time."""
    accept_unsigned: bool = False
    """Whether workers take messages without a MAC: for the update from a release before 0.2, while its queues drain."""
    served: tuple[str, ...] = ()
    """The contexts whose routes this process answers and whose lanes it consumes, or, each with a `-` before it, those
    of which it does not; empty: all.
    """
    of_contexts: tuple[ContextSettings, ...] = ()

    @property
    def production(self) -> bool:
        return self.app_env == "production"

    @property
    def on_rabbitmq(self) -> bool:
        """False on the embedded filesystem transport, which has no confirms and no dead letters."""
        return self.broker_url.startswith(("amqp", "pyamqp"))

    def of(self, kind: type[C]) -> C:
        """A context's own settings."""
        return next(one for one in self.of_contexts if type(one) is kind)

    def serves(self, context: str) -> bool:
        """Whether this process answers that context's routes and consumes its lanes."""
        named = [name for name in self.served if not name.startswith(_NOT)]
        return _NOT + context not in self.served and (not named or context in named)


def load_settings(of_contexts: Iterable[type[ContextSettings]] = (), contexts: Sequence[str] = ()) -> Settings:
    """Read the environment (and `.env` in development).

    Args:
        of_contexts: the settings that the contexts declare.
        contexts: the names that CONTEXTS may hold; without any they are not checked.

    Raises:
        SettingsError: a value is missing, malformed, or unsafe in production.
    """
    env = Env()
    if os.environ.get("APP_ENV", "development") != "production":
        env.read_env(str(ROOT / ".env"), recurse=False)
    app_env = env.str("APP_ENV", "development")
    if app_env not in ("development", "production"):
        raise SettingsError("APP_ENV must be 'development' or 'production'")
    environment = Environment(env, developing=app_env == "development")
    settings = _load(environment, app_env, of_contexts)
    problems = [*_malformed(settings, contexts)]
    if settings.production:
        problems += _unsafe(settings)
    for own in settings.of_contexts:
        problems += own.problems(production=settings.production)
    if problems:
        raise SettingsError("refusing to start: " + "; ".join(problems))
    return settings


def _load(environment: Environment, app_env: str, of_contexts: Iterable[type[ContextSettings]]) -> Settings:
    env, developing = environment.read, environment.developing
    database_url = env.str("DATABASE_URL", "") or (_embedded_database_url() if developing else "")
    return Settings(
        app_env=app_env,
        database_url=database_url,
        database_read_url=env.str("DATABASE_READ_URL", "") or database_url,
        broker_url=env.str("BROKER_URL", "") or ("filesystem://" if developing else ""),
        secret_keys=listed(environment.secret("SECRET_KEYS", "secret-key")),
        public_url=env.str("PUBLIC_URL", f"http://127.0.0.1:{env.int('PORT', 8000)}").rstrip("/"),
        cors_origins=listed(env.str("CORS_ORIGINS", "")),
        trusted_proxies=env.int("TRUSTED_PROXIES", 0),
        log_format=env.str("LOG_FORMAT", "text" if developing else "json"),
        otlp_endpoint=env.str("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        accept_unsigned=env.bool("ACCEPT_UNSIGNED_MESSAGES", False),
        served=listed(env.str("CONTEXTS", "")),
        of_contexts=tuple(kind.load(environment) for kind in of_contexts),
    )


def _malformed(settings: Settings, contexts: Sequence[str]) -> list[str]:
    checks = {
        "CONTEXTS must be some of " + ", ".join(contexts): bool(contexts)
        and not {name.removeprefix(_NOT) for name in settings.served} <= set(contexts),
        "TRUSTED_PROXIES must not be negative": settings.trusted_proxies < 0,
        "LOG_FORMAT must be 'json' or 'text'": settings.log_format not in ("json", "text"),
        "DATABASE_URL must begin with postgresql://": bool(settings.database_url)
        and not settings.database_url.startswith(("postgresql://", "postgres://")),
        "BROKER_URL must begin with amqp://, amqps:// or (development only) filesystem://": bool(settings.broker_url)
        and not settings.broker_url.startswith(("amqp://", "amqps://", "pyamqp://", "filesystem://")),
    }
    return [problem for problem, found in checks.items() if found]


def _unsafe(settings: Settings) -> list[str]:
    """What production must not run with."""
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
        "SECRET_KEYS is missing, shorter than 32 characters, or a known default": any_weak(settings.secret_keys),
    }
    return [problem for problem, found in checks.items() if found]


def any_weak(found: Sequence[str]) -> bool:
    """Whether there is no secret at all, or one that is short, repetitive or known."""
    return not found or any(_weak(secret) for secret in found)


def _weak(secret: str) -> bool:
    known = any(word in secret.lower() for word in _KNOWN_SECRETS)
    return known or len(secret) < _SHORTEST_SECRET or len(set(secret)) < 8


def _embedded_database_url() -> str:
    return DATABASE_URL_FILE.read_text().strip() if DATABASE_URL_FILE.exists() else ""


def listed(text: str) -> tuple[str, ...]:
    """The items of a comma-separated list."""
    return tuple(item for item in map(str.strip, text.split(",")) if item)


def _kept(name: str) -> str:
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
