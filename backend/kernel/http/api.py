"""What a view function may reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import current_app

from backend.kernel.delivery.dispatch import Bus
from backend.kernel.delivery.sealing import Keyring
from backend.kernel.delivery.waiters import Waiters
from backend.kernel.http.caller import Authenticate
from backend.kernel.http.shortcuts import behind
from backend.kernel.observe.timeline import StepsOf
from backend.kernel.postgres.listener import Listener
from backend.settings import Settings

PREFIX = "/api/v1"


@dataclass(frozen=True)
class Api:
    """What a view function may reach.

    Attributes:
        timeline: what the contexts add to the timeline of a request.
    """

    settings: Settings
    bus: Bus
    keyring: Keyring
    listener: Listener
    waiters: Waiters
    authenticate: Authenticate
    timeline: tuple[StepsOf, ...] = ()


def api() -> Api:
    """The running application's parts."""
    return cast("Api", behind(current_app).extensions["api"])


def bus() -> Bus:
    """The running application's bus."""
    return api().bus
