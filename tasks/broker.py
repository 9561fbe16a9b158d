"""The nodes of RabbitMQ: connections try the one that answered last first, and check its name over TLS."""

from __future__ import annotations

from ssl import SSLCertVerificationError
from typing import Any

from amqp.exceptions import AccessRefused, NotAllowed
from kombu import Connection
from kombu.transport import TRANSPORT_ALIASES, pyamqp

from backend.addresses import broker, broker_port, broker_urls


class TlsTransport(pyamqp.SSLTransport):  # type: ignore[misc]
    """kombu's transport checks who signed a certificate, but not the server's name, and sends no name (SNI).
    Its option for that keeps the first name for every node of a list.
    """

    def establish_connection(self) -> Any:
        """Connect to the current node of the connection."""
        node, given = self.client.hostname, self.client.ssl
        self.client.ssl = {**(given if isinstance(given, dict) else {}), "server_hostname": node}
        try:
            return super().establish_connection()
        finally:
            self.client.hostname = node  # kombu makes an address of `localhost`


TRANSPORT_ALIASES["amqps"] = f"{__name__}:{TlsTransport.__name__}"


class Nodes:
    """The addresses of the broker, for new connections. kombu starts each at the first one."""

    def __init__(self, addresses: str) -> None:
        self._urls = broker_urls(addresses)

    @property
    def several(self) -> bool:
        """Whether there is another node to ask."""
        return len(self._urls) > 1

    @property
    def urls(self) -> str:
        """All addresses, in kombu's form."""
        return ";".join(self._urls)

    def answered(self, connection: Connection) -> None:
        """Start at the node of this connection from now on."""
        if self.several:
            self._urls = sorted(self._urls, key=lambda url: not _leads_to(url, connection))

    def fell_silent(self, connection: Connection) -> None:
        """Ask the node of this connection after all others: it may let clients in, and keep each waiting."""
        if self.several:
            self._urls = sorted(self._urls, key=lambda url: _leads_to(url, connection))

    def prefers(self, connection: Connection) -> bool:
        """Whether a new connection would start at the node of this one."""
        return not self.several or _leads_to(self._urls[0], connection)


def connect(connection: Connection) -> None:
    """Connect to the first node that answers; each is tried once. kombu's own `connect` gives up after the second.

    Raises:
        kombu.OperationalError: none does.
    """
    connection.ensure_connection(max_retries=max(len(connection.alt) - 1, 0), interval_start=0, interval_step=0)


def why_away(error: BaseException) -> str:
    """Why no connection can be made, for an operator: no values. kombu wraps every cause in one type."""
    error = error.__cause__ or error
    if isinstance(error, SSLCertVerificationError):
        return (
            "RabbitMQ's certificate is not accepted:"
            " it has expired, is another host's, or BROKER_CA_FILE does not vouch for it"
        )
    if isinstance(error, AccessRefused):
        return "RabbitMQ refuses the account or the password; see BROKER_URL"
    if isinstance(error, NotAllowed):
        return "RabbitMQ has no such virtual host, or not for this account; see BROKER_URL"
    return "RabbitMQ cannot be reached; see BROKER_URL"


def _leads_to(url: str, connection: Connection) -> bool:
    node = broker(url)
    host = node.hostname or "localhost"
    return (_without_alias(host), broker_port(node)) == (_without_alias(connection.hostname), connection.port)


def _without_alias(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host
