"""Policies of RabbitMQ that lose messages. An operator sets them beside the program, which sees none of them by AMQP.

A pattern such as `.*` meets lanes, dead letters, and the queues in which RabbitMQ keeps delayed retries. With
BROKER_MANAGEMENT_URL a worker asks the management plugin at its start, and warns.
"""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import structlog

from backend.addresses import broker, broker_urls
from backend.settings import Settings

_TIMEOUT = 3
_LOSES = {
    "message-ttl": "messages that wait longer are taken out of the queue",
    "expires": "the queue is deleted, with its messages, while nobody uses it",
}
_LIMITS = ("max-length", "max-length-bytes")

log = structlog.get_logger(__name__)


def warn_of_policies(settings: Settings, ours: Iterable[str]) -> None:
    """Log a warning for each policy of our queues that loses messages.

    Args:
        ours: names of queues, or beginnings of names.
    """
    if not (settings.broker_management_url and settings.on_rabbitmq):
        return
    vhost = unquote(broker(broker_urls(settings.broker_url)[0]).path.removeprefix("/")) or "/"
    try:
        queues = queues_at(settings.broker_management_url, vhost, settings.broker_ca_file)
    except (OSError, ValueError) as error:
        log.warning("policies of RabbitMQ not checked", reason=type(error).__name__)
        return
    prefixes = tuple(ours)
    for queue in queues:
        if queue["name"].startswith(prefixes):
            for reason in _dangers(queue):
                log.warning("a policy loses messages", queue=queue["name"], policy=_names(queue), reason=reason)


def queues_at(management_url: str, vhost: str, authority: str = "") -> list[dict[str, Any]]:
    """The queues of a virtual host with their policies, at most some seconds old.

    Args:
        authority: the file of the private one that signed the certificate; by default the system's authorities.

    Raises:
        OSError, ValueError: no answer, or not that of the plugin.
    """
    parts = urlsplit(management_url)
    netloc = parts.netloc.rpartition("@")[2]
    columns = "name,arguments,policy,operator_policy,effective_policy_definition"
    path = f"{parts.path.rstrip('/')}/api/queues/{quote(vhost, safe='')}"
    account = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    request = Request(  # noqa: S310 - an address of the settings
        parts._replace(netloc=netloc, path=path, query=f"columns={columns}").geturl(),
        headers={"Authorization": f"Basic {b64encode(account.encode()).decode()}"},
    )
    trusted = ssl.create_default_context(cafile=authority or None)
    directly = build_opener(ProxyHandler({}), HTTPSHandler(context=trusted))  # a proxy would be told the password
    with directly.open(request, timeout=_TIMEOUT) as answer:
        return list(json.load(answer))


def _dangers(queue: Mapping[str, Any]) -> Iterator[str]:
    """Arguments of a queue have priority over policies, except for limits, of which the smaller one counts."""
    policy = queue.get("effective_policy_definition") or {}
    arguments = queue.get("arguments") or {}
    for name, reason in _LOSES.items():
        if name in policy:
            yield f"{name}: {reason}"
    overflow = arguments.get("x-overflow") or policy.get("overflow", "drop-head")
    for name in _LIMITS:
        if name in policy and overflow == "drop-head":
            yield f"{name}: a full queue drops its oldest messages; set overflow to reject-publish"


def _names(queue: Mapping[str, Any]) -> str:
    return ", ".join(filter(None, (queue.get("policy"), queue.get("operator_policy"))))
