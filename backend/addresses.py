"""The addresses of servers in the settings: read once here, and described without any part of a password."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

_BROKER_SCHEMES = ("amqp", "amqps", "pyamqp")
_ESCAPED = "percent-encode special characters of its password, such as %2F for /"


class UnreadableAddress(ValueError):
    """Its text says what is wrong and quotes nothing of the address: what was misread may be a password."""


def database_parameters(url: str) -> dict[str, Any]:
    """What libpq connects with: any form that it takes, URI or `keyword=value`, with several hosts and options.

    Raises:
        UnreadableAddress: libpq does not take it.
    """
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.Error:
        raise UnreadableAddress(f"is no address of PostgreSQL; {_ESCAPED}") from None
    ports = str(parameters.get("port") or "").split(",")
    if not all(port.isdigit() or not port for port in ports):
        raise UnreadableAddress(f"has a port that is no number; {_ESCAPED}")
    return parameters


def database_place(url: str) -> str:
    """Host, port and database, for a message."""
    parameters = database_parameters(url)
    return ", ".join(
        f"{name} {parameters[name]}" for name in ("service", "host", "port", "dbname") if name in parameters
    )


def broker_urls(addresses: str) -> list[str]:
    """The single addresses of a list with `;` between them, which kombu tries one after the other."""
    return [address for address in map(str.strip, addresses.split(";")) if address]


def broker(address: str) -> SplitResult:
    """One of them, in its parts.

    Raises:
        UnreadableAddress: it is no `amqp://` or `amqps://` address of a single host.
    """
    unreadable = UnreadableAddress(f"has a host or port that cannot be read; {_ESCAPED}")
    try:
        parts = urlsplit(address)
    except ValueError:
        raise unreadable from None
    if parts.scheme not in _BROKER_SCHEMES:
        raise UnreadableAddress("must begin with amqp://, amqps:// or (development only) filesystem://")
    if "," in parts.netloc.rpartition("@")[2] or ",amqp" in parts.path:
        raise UnreadableAddress("must name several hosts as whole addresses with ; between them")
    if not _has_port_or_none(parts) or "@" in parts.path + parts.query + parts.fragment:
        raise unreadable
    return parts


def broker_places(addresses: str) -> str:
    """Hosts, ports and virtual hosts, for a message."""
    places = (broker(address) for address in broker_urls(addresses))
    return ", ".join(f"{parts.hostname or 'localhost'}:{parts.port or _port(parts)}{parts.path}" for parts in places)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_private(host: str) -> bool:
    """Whether it is on a network of the operator's own: a private address, or a name that only such a network has."""
    try:
        return ip_address(host).is_private
    except ValueError:
        return bool(host) and "." not in host


def web_address_problem(name: str, url: str, *, production: bool) -> str | None:
    """What is wrong with an address that browsers are led to; None when nothing is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{name} cannot be read"
    host, more = parts.hostname or "", parts.username or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not host or more or not _has_port_or_none(parts):
        return f"{name} must be https://host or http://host, with a path at most"
    if production and parts.scheme == "http" and not is_loopback(host):
        return f"{name} must begin with https://: tokens and links would travel in the clear"
    return None


def _has_port_or_none(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def _port(parts: SplitResult) -> int:
    return 5671 if parts.scheme == "amqps" else 5672
