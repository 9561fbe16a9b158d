"""The environment variables that the program reads, typed and validated once at start.

These are the kernel's. A context declares its own as a `ContextSettings`.
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

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from dotenv import load_dotenv
from environs import Env, EnvError
from psycopg.conninfo import make_conninfo

from backend.addresses import PORTS, broker_urls
from backend.settings_checks import NOT_SERVED, malformed, passwords, unsafe, used_twice

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"
DATABASE_URL_FILE = VAR / "database-url"
"""The file in which `make run` stores the address of the embedded PostgreSQL for the other processes."""


class SettingsError(SystemExit):
    """The environment has a value with which the program must not start. A process that does not catch it ends with its
    sentence, and without a traceback.
    """


class Environment:
    """The environment variables, as a context's settings read them.

    Attributes:
        developing: whether missing keys may be generated.
        read: the variables of the process, by type: `read.str("NAME", default)`.
        keys: the keys, by variable: each value may be used for one purpose only.
    """

    def __init__(self, read: Env, *, developing: bool) -> None:
        self.read = read
        self.developing = developing
        self.keys: dict[str, tuple[str, ...]] = {}

    def private(self, variable: str, default: str = "") -> str:
        """A secret value: that of its variable, or the content of the file that `<variable>_FILE` names.

        Raises:
            SettingsError: both are given, or the file cannot be read.
        """
        given, path = self.read.str(variable, ""), self.read.str(f"{variable}_FILE", "")
        if given and path:
            raise SettingsError(f"refusing to start: {variable} and {variable}_FILE are both set; unset one of them")
        return (_content_of(variable, path) if path else given) or default

    def key(self, variable: str) -> str:
        """A secret of ours, or several separated by commas: see `keys`."""
        given = self.private(variable)
        self.keys[variable] = listed(given)
        return given

    def secret(self, variable: str, file_name: str) -> str:
        """A key from its variable; in development one that is generated once and kept under `var/`."""
        return self.key(variable) or (_development_key(file_name) if self.developing else "")


class ContextSettings(Protocol):
    """A context's own settings: a frozen dataclass that loads itself."""

    @classmethod
    def load(cls, environment: Environment) -> Self:
        """From the environment."""

    def problems(self, *, production: bool) -> Iterator[str]:
        """Every reason not to start with these settings, as a sentence without secrets."""


C = TypeVar("C", bound=ContextSettings)


@dataclass(frozen=True, repr=False)
class Settings:
    """The settings of the kernel and of the contexts. Never printed, because they contain secrets."""

    app_env: str
    database_url: str
    database_read_url: str
    """A replica that answers queries; the database itself if there is none."""
    broker_url: str
    """One address, or several separated by `;`, for the nodes of a cluster."""
    secret_keys: tuple[str, ...]
    """Newest first. The first seals and signs; each opens and verifies."""
    public_url: str
    cors_origins: tuple[str, ...]
    trusted_proxies: int
    log_format: str
    otlp_endpoint: str
    database_direct_url: str = ""
    """The database itself, if `database_url` leads through a pooler: for LISTEN and for migrations."""
    broker_ca_file: str = ""
    """The authority that signed the certificates of `amqps://` brokers; empty: one that the system trusts."""
    broker_management_url: str = ""
    """RabbitMQ's management plugin, with an account that may read queues: workers ask it for policies at start."""
    metrics_token: str = ""
    """What `/metrics` asks for; without one production does not show it."""
    publish_deadline: float = 2.0
    """The most seconds that a request waits for broker or spool to accept its command."""
    spool_limit: int = 10_000
    """Messages in the outbox above which commands that the broker cannot take are refused."""
    wait_slots: int = 32
    """Requests of an API process that may wait for an outcome at the same time."""
    accept_unsigned: bool = False
    """Whether workers accept messages without a MAC: for the update from a release before 0.2, while queues drain."""
    served: tuple[str, ...] = ()
    """The contexts whose routes this process serves and whose lanes it consumes, or, each with the prefix `-`, those
    that it does not; empty: all.
    """
    commit: str = ""
    """The commit that the code was built from, for operators; empty if unknown."""
    of_contexts: tuple[ContextSettings, ...] = ()

    @property
    def production(self) -> bool:
        return self.app_env == "production"

    @property
    def on_rabbitmq(self) -> bool:
        """False for the embedded filesystem transport, which has no confirms and no dead letters."""
        return self.broker_url.startswith(("amqp", "pyamqp"))

    def of(self, kind: type[C]) -> C:
        """A context's own settings."""
        return next(one for one in self.of_contexts if type(one) is kind)

    def serves(self, context: str) -> bool:
        """Whether this process serves the context's routes and consumes its lanes."""
        named = [name for name in self.served if not name.startswith(NOT_SERVED)]
        return NOT_SERVED + context not in self.served and (not named or context in named)


def load_settings(of_contexts: Iterable[type[ContextSettings]] = (), contexts: Sequence[str] = ()) -> Settings:
    """Read the environment; in development, first take what is unset in it from `.env`.

    Args:
        of_contexts: the settings that the contexts declare.
        contexts: the names allowed in CONTEXTS; if empty, names are not checked.

    Raises:
        SettingsError: a value is missing, malformed, or unsafe in production.
    """
    env = Env()
    if os.environ.get("APP_ENV", "development") != "production":
        load_dotenv(ROOT / ".env")  # into the environment: `make run` and the workers read some of it there
    app_env = env.str("APP_ENV", "development")
    if app_env not in ("development", "production"):
        raise SettingsError("refusing to start: APP_ENV must be 'development' or 'production'")
    environment = Environment(env, developing=app_env == "development")
    try:
        settings = _load(environment, app_env, of_contexts)
    except EnvError as error:  # names the variable, and not its value
        raise SettingsError(f"refusing to start: {error}") from None
    problems = [*malformed(settings, contexts)]
    if settings.production:
        problems += [*unsafe(settings), *used_twice(environment.keys, passwords(settings))]
    for own in settings.of_contexts:
        problems += own.problems(production=settings.production)
    if problems:
        raise SettingsError("refusing to start: " + "; ".join(problems))
    return settings


def _load(environment: Environment, app_env: str, of_contexts: Iterable[type[ContextSettings]]) -> Settings:
    env, developing = environment.read, environment.developing
    database_url = environment.private("DATABASE_URL") or (_embedded_database_url() if developing else "")
    return Settings(
        app_env=app_env,
        database_url=database_url,
        database_read_url=environment.private("DATABASE_READ_URL", database_url),
        database_direct_url=environment.private("DATABASE_DIRECT_URL"),
        broker_url=";".join(broker_urls(environment.private("BROKER_URL", "filesystem://" if developing else ""))),
        broker_ca_file=env.str("BROKER_CA_FILE", ""),
        broker_management_url=environment.private("BROKER_MANAGEMENT_URL"),
        secret_keys=listed(environment.secret("SECRET_KEYS", "secret-key")),
        public_url=env.str("PUBLIC_URL", f"http://127.0.0.1:{_port(env)}").rstrip("/"),
        cors_origins=listed(env.str("CORS_ORIGINS", "")),
        trusted_proxies=env.int("TRUSTED_PROXIES", 0),
        log_format=env.str("LOG_FORMAT", "text" if developing else "json"),
        otlp_endpoint=env.str("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        metrics_token=environment.key("METRICS_TOKEN"),
        accept_unsigned=env.bool("ACCEPT_UNSIGNED_MESSAGES", False),
        commit=env.str("COMMIT", ""),
        served=listed(env.str("CONTEXTS", "")),
        of_contexts=tuple(kind.load(environment) for kind in of_contexts),
    )


def _port(env: Env) -> int:
    port = env.int("PORT", 8000)
    if port not in PORTS:
        raise SettingsError(f"refusing to start: PORT must be {PORTS[0]} to {PORTS[-1]}")
    return port


def _embedded_database_url() -> str:
    """Its address, also while it is down: libpq would take an empty one for another database of this machine."""
    if DATABASE_URL_FILE.exists():
        return DATABASE_URL_FILE.read_text().strip()
    return make_conninfo(host=str(VAR / "postgres"), user="postgres", dbname="postgres")


def listed(text: str) -> tuple[str, ...]:
    """The items of a comma-separated list."""
    return tuple(item for item in map(str.strip, text.split(",")) if item)


def _content_of(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig").strip()  # editors of Windows begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"refusing to start: {variable}_FILE cannot be read: {type(error).__name__}") from None


def _development_key(name: str) -> str:
    path = VAR / "keys" / name
    if not path.exists():
        keep_key(name, new_key(name), replace=False)
    return path.read_text()


def keep_key(name: str, content: str, *, replace: bool) -> None:
    """Write a development key, completely or not at all: several processes start at the same time.

    Raises:
        SettingsError: the disk is full, or may not be written to.
    """
    path = VAR / "keys" / name
    try:
        _write(path, content, replace=replace)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from None


def _write(path: Path, content: str, *, replace: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with NamedTemporaryFile("w", dir=path.parent) as file:  # readable by its owner only
        file.write(content)
        file.flush()
        if replace:
            path.unlink(missing_ok=True)
        with suppress(FileExistsError):  # another process wrote its key first: use that one
            os.link(file.name, path)


def new_key(name: str) -> str:
    """A new key for the file: PEM (PKCS #8) for `jwt-<algorithm>.pem`, else 48 random bytes as text."""
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
