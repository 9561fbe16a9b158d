"""The addresses of servers in the settings: parsed here, and described without any part of a password."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

PORTS = range(1, 65536)
_BROKER_SCHEMES = ("amqp", "amqps", "pyamqp")
_ESCAPED = "percent-encode special characters of its password, such as %2F for /"


class UnreadableAddress(ValueError):
    """Its text says what is wrong and quotes nothing of the address: a misread part may be a password."""


def database_parameters(url: str) -> dict[str, Any]:
    """The parameters of libpq: from any form that it accepts, URI or `keyword=value`, with several hosts and options.

    Raises:
        UnreadableAddress: libpq does not accept it.
    """
    try:
        parameters = conninfo_to_dict(url)
    except (psycopg.Error, UnicodeDecodeError):
        raise UnreadableAddress(f"is not an address of PostgreSQL; {_ESCAPED}") from None
    hosts = str(parameters.get("host") or "").split(",")
    if any("@" in host[1:] for host in hosts):  # an abstract socket begins with one
        raise UnreadableAddress(f"has a host with an @; {_ESCAPED}")
    ports = str(parameters.get("port") or "").split(",")
    if not all(not port or (port.isdecimal() and int(port) in PORTS) for port in ports):
        raise UnreadableAddress(f"has a port that is not a number from 1 to 65535; {_ESCAPED}")
    return parameters


def database_place(url: str) -> str:
    """Host, port and database, for an error text."""
    parameters = database_parameters(url)
    return ", ".join(
        f"{name} {parameters[name]}" for name in ("service", "host", "port", "dbname") if name in parameters
    )


def broker_urls(addresses: str) -> list[str]:
    """The addresses of a list separated by `;`, which kombu tries one after the other."""
    return [address for address in map(str.strip, addresses.split(";")) if address]


def broker(address: str) -> SplitResult:
    """The parts of one address.

    Raises:
        UnreadableAddress: it is no `amqp://` or `amqps://` address of a single host.
    """
    unreadable = UnreadableAddress(f"has a host or port that cannot be parsed; {_ESCAPED}")
    try:
        parts = urlsplit(address)
    except ValueError:
        raise unreadable from None
    if parts.scheme not in _BROKER_SCHEMES:
        raise UnreadableAddress("must begin with amqp://, amqps:// or (development only) filesystem://")
    if "," in parts.netloc.rpartition("@")[2] or ",amqp" in parts.path:
        raise UnreadableAddress("must list several hosts as complete addresses separated by ;")
    if not _has_port_or_none(parts) or "@" in parts.path + parts.query + parts.fragment:
        raise unreadable
    if parts.query or parts.fragment:  # kombu would take them for options, such as another user
        raise UnreadableAddress(f"has more than user, password, host, port and virtual host; {_ESCAPED}")
    unescaped(parts.password)
    return parts


def unescaped(text: str | None) -> str:
    """A user or password of an address. One that was not escaped may contain a `%`.

    Raises:
        UnreadableAddress: it is no text in UTF-8.
    """
    try:
        return unquote(text or "", errors="strict")
    except UnicodeDecodeError:
        raise UnreadableAddress(f"has a password that is not escaped; {_ESCAPED}") from None


def broker_port(parts: SplitResult) -> int:
    """Its port, by default that of its scheme."""
    return parts.port or (5671 if parts.scheme == "amqps" else 5672)


def broker_places(addresses: str) -> str:
    """Hosts, ports and virtual hosts, for an error text."""
    places = (broker(address) for address in broker_urls(addresses))
    return ", ".join(f"{parts.hostname or 'localhost'}:{broker_port(parts)}{parts.path}" for parts in places)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_private(host: str) -> bool:
    """Whether it is on a private network: a private address, or a name without a dot."""
    try:
        return ip_address(host).is_private
    except ValueError:
        return bool(host) and "." not in host


def web_address_problem(name: str, url: str, *, production: bool) -> str | None:
    """What is wrong with an address for browsers; None if nothing is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{name} cannot be parsed"
    host, more = parts.hostname or "", parts.username or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not host or more or not _has_port_or_none(parts):
        return f"{name} must be https://host or http://host, optionally with a path"
    if production and parts.scheme == "http" and not is_loopback(host):
        return f"{name} must begin with https://: otherwise tokens and links are sent unencrypted"
    return None


def _has_port_or_none(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False
