"""Checks of the settings: each reason not to start is a sentence that quotes no value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from backend.addresses import (
    UnreadableAddress,
    broker,
    broker_urls,
    database_parameters,
    is_loopback,
    web_address_problem,
)
from backend.kernel.http.origins import is_origin

if TYPE_CHECKING:
    from backend.settings import Settings

COMING = "coming:"
"""The mark of a secret key that every process must have before any process signs with it: `backend.kernel.keys`."""
NOT_SERVED = "-"
"""The prefix of a context that a process does not serve."""

_SHORTEST_SECRET = 32
_KNOWN_SECRETS = ("change-me", "changeme", "secret", "development", "example", "please-change")
_KNOWN_PASSWORDS = {"", "guest", "postgres", "password", "admin", "root", "secret", "changeme"}


def malformed(settings: Settings, contexts: Sequence[str]) -> Iterator[str]:
    """Settings that no program can run with."""
    if contexts and not {name.removeprefix(NOT_SERVED) for name in settings.served} <= set(contexts):
        yield "CONTEXTS must be some of " + ", ".join(contexts)
    if settings.trusted_proxies < 0:
        yield "TRUSTED_PROXIES must not be negative"
    if not all(map(is_origin, settings.cors_origins)):
        yield (
            "CORS_ORIGINS must be a list of origins such as https://app.example.org or https://*.example.org, "
            "without a path"
        )
    if settings.log_format not in ("json", "text"):
        yield "LOG_FORMAT must be 'json' or 'text'"
    if settings.secret_keys and all(key.startswith(COMING) for key in settings.secret_keys):
        yield f"SECRET_KEYS has no key that may sign: each is marked {COMING}"
    management = _without_account(settings.broker_management_url or "http://none")
    if problem := web_address_problem("BROKER_MANAGEMENT_URL", management, production=False):
        yield problem
    if settings.broker_ca_file and not Path(settings.broker_ca_file).is_file():
        yield "BROKER_CA_FILE is not a file"
    yield from _unreadable(settings)
    web = web_address_problem("PUBLIC_URL", settings.public_url, production=settings.production)
    if web is not None:
        yield web


def _unreadable(settings: Settings) -> Iterator[str]:
    brokers = [] if settings.broker_url.startswith("filesystem:") else broker_urls(settings.broker_url)
    checks: list[tuple[str, Callable[[str], object], str]] = [
        *((name, database_parameters, url) for name, url in _databases(settings).items()),
        *(("BROKER_URL", broker, address) for address in brokers),
    ]
    for name, read, address in checks:
        try:
            read(address)
        except UnreadableAddress as problem:
            yield f"{name} {problem}"
    if len({address.partition(":")[0] == "amqps" for address in brokers}) > 1:
        yield "BROKER_URL must not mix amqp:// and amqps://"
    if settings.broker_ca_file and not settings.broker_url.startswith("amqps:"):
        yield "BROKER_CA_FILE is of no use without amqps:// in BROKER_URL"


def unsafe(settings: Settings) -> Iterator[str]:
    """Settings that are unsafe in production."""
    if not settings.database_url:
        yield "DATABASE_URL is missing"
    for name, url in _databases(settings).items():
        if _opens_to_anybody(url):
            yield f"{name} contains no password, or a known default one"
    if not settings.broker_url:
        yield "BROKER_URL is missing"
    elif not settings.on_rabbitmq:
        yield "BROKER_URL must be RabbitMQ (amqp:// or amqps://)"
    elif any(_is_guest(address) for address in _brokers(settings)):
        yield "BROKER_URL contains RabbitMQ's default user, no password, or a known default one"
    yield from _unsafe_web_addresses(settings)
    if settings.metrics_token and _weak(settings.metrics_token):
        yield "METRICS_TOKEN is shorter than 32 characters, or a known default"
    if any_weak(settings.secret_keys):
        yield "SECRET_KEYS is missing, shorter than 32 characters, or a known default"


def _unsafe_web_addresses(settings: Settings) -> Iterator[str]:
    with suppress(ValueError):  # it cannot be parsed: see `malformed`
        if settings.broker_management_url and _is_guest(urlsplit(settings.broker_management_url)):
            yield "BROKER_MANAGEMENT_URL contains RabbitMQ's default user, no password, or a known default one"
    with suppress(ValueError):
        if any(_is_in_the_clear(urlsplit(origin)) for origin in settings.cors_origins):
            yield "CORS_ORIGINS must begin with https://: whoever changes a page on its way uses the API as its user"


def _opens_to_anybody(url: str) -> bool:
    with suppress(UnreadableAddress):
        parameters = database_parameters(url)
        hosts = str(parameters.get("host") or parameters.get("hostaddr") or "").split(",")
        local = all(not host or host.startswith(("/", "@")) for host in hosts)
        elsewhere = {"service", "passfile", "sslcert"} & parameters.keys()  # where libpq finds our credentials
        password = str(parameters.get("password", ""))
        return password in _KNOWN_PASSWORDS if password else not (local or elsewhere)
    return False


def _without_account(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _brokers(settings: Settings) -> Iterator[SplitResult]:
    for address in broker_urls(settings.broker_url):
        with suppress(UnreadableAddress):
            yield broker(address)


def _is_guest(address: SplitResult) -> bool:
    return unquote(address.username or "") in ("", "guest") or unquote(address.password or "") in _KNOWN_PASSWORDS


def _is_in_the_clear(address: SplitResult) -> bool:
    return address.scheme == "http" and not is_loopback(address.hostname or "")


def passwords(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The passwords in addresses, by variable."""
    found: dict[str, tuple[str, ...]] = {}
    with suppress(UnreadableAddress):
        for name, url in _databases(settings).items():
            found[name] = (str(database_parameters(url).get("password", "")),)
        if settings.on_rabbitmq:
            found["BROKER_URL"] = tuple(unquote(address.password or "") for address in _brokers(settings))
    return found


def used_twice(keys: Mapping[str, Sequence[str]], shared: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Equal secrets: a leak of one is a leak of both. Those in addresses may equal each other."""
    bare = {name: {value.removeprefix(COMING) for value in values} for name, values in {**shared, **keys}.items()}
    for name, other in combinations(bare, 2):
        if bare[name] & bare[other] - {""} and not {name, other} <= shared.keys():
            yield f"{name} and {other} have the same value: each needs its own"


def any_weak(found: Sequence[str]) -> bool:
    """Whether there is no secret, or one that is short, repetitive or a known default."""
    return not found or any(_weak(secret) for secret in found)


def _weak(secret: str) -> bool:
    secret = secret.removeprefix(COMING)
    is_default = any(word in secret.lower() for word in _KNOWN_SECRETS)
    return is_default or len(secret) < _SHORTEST_SECRET or len(set(secret)) < 8


def _databases(settings: Settings) -> dict[str, str]:
    named = {
        "DATABASE_URL": settings.database_url,
        "DATABASE_READ_URL": settings.database_read_url,
        "DATABASE_DIRECT_URL": settings.database_direct_url,
    }
    return {
        name: url for name, url in named.items() if url and (name == "DATABASE_URL" or url != settings.database_url)
    }
