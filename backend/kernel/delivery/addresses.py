"""Finds messages by the e-mail address in them, for operators: an anonymous caller has no account to look for.

The inbox keeps no address, but a keyed hash of it. Whoever reads the table learns nothing; whoever knows an address
and has the key finds its messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from backend.kernel.keys import Keyring
from backend.kernel.postgres.statements import run

_FIELD = "email"
"""The field of commands and events that holds an address, normalized by `email_address`."""
_MOST = 100
# What waits or was given up still has its body.
_REQUESTS = """
select request_id from (
    select request_id, finished_at as at from operations where address = %(digest)s
    union all select request_id, since from retries where address = %(digest)s
    union all select headers ->> 'request_id', created_at from outbox where body ->> 'email' = %(address)s
    union all select headers ->> 'request_id', due_at from timers where body ->> 'email' = %(address)s
    union all select request_id, last_dead_at from dead_letters where body ->> 'email' = %(address)s
) found where request_id is not null group by request_id order by max(at) desc limit %(most)s
"""


def digest_in(keyring: Keyring, body: Mapping[str, Any]) -> bytes | None:
    """The hash of the address in a message; None if it has none."""
    address = body.get(_FIELD)
    return digest_of(keyring, address) if isinstance(address, str) else None


def digest_of(keyring: Keyring, address: str) -> bytes:
    """The hash of an address."""
    return keyring.digest("address", address.encode("utf-8", "surrogatepass"))


def requests_about(connection: sa.Connection, keyring: Keyring, address: str) -> list[str]:
    """The ids of the most recent requests whose messages contain the address, the last one first."""
    wanted = {"digest": digest_of(keyring, address), "address": address, "most": _MOST}
    return [request_id for (request_id,) in run(connection, _REQUESTS, wanted)]
