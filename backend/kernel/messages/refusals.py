"""The ways a domain says no. A refusal is an outcome: it is reported, never retried.

    Refusal
    ├── Invalid       the input breaks a rule
    ├── Denied        the caller may not do this, or did not prove who they are
    ├── NotFound      there is no such thing, or it is not the caller's to see
    ├── Conflict      the present state forbids it
    ├── Stale         the caller decided on an older version
    ├── Throttled     too many attempts
    └── Fault         not a decision of the domain: something broke on our side

A context declares its own as subclasses. The class name is the code on the wire (`EmailTaken` is `email_taken`),
the docstring is what the problem's page says. What HTTP makes of a kind: `backend/kernel/http/problems.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from backend.kernel.messages.event import snake_case


class RefusalKind(StrEnum):
    """Why something is refused."""

    INVALID = "invalid"  # a value breaks a rule
    UNPROVEN = "unproven"  # what was presented does not prove who the caller is
    DENIED = "denied"  # the caller is known, but may not do this
    NOT_FOUND = "not_found"  # there is no such thing for this caller
    CONFLICT = "conflict"  # the present state forbids it
    STALE = "stale"  # decided on an older version
    THROTTLED = "throttled"  # too many attempts lately
    BUSY = "busy"  # not now; nothing was checked or done
    FAULT = "fault"  # something broke on our side


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with the input.

    Attributes:
        field: the input's field name, "" for the whole.
        detail: what is wrong, for the person who typed it.
    """

    field: str
    detail: str


class Refusal(Exception):
    """The request was understood and will not be processed.

    Attributes:
        kind: why; each subclass declares its own.
        keeps_effects: whether what the handler wrote before it refused stays: the count of a failed attempt must.
        retry_after: seconds after which another try may succeed; None where trying again is no use.
    """

    kind: ClassVar[RefusalKind]
    keeps_effects: ClassVar[bool] = False
    retry_after: int | None = None

    def __init__(self, detail: str = "", errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail or self.description()
        self.errors = tuple(errors)

    @classmethod
    def code(cls) -> str:
        """The stable name that callers may branch on."""
        return snake_case(cls.__name__)

    @classmethod
    def description(cls) -> str:
        """What it means, from the docstring."""
        return " ".join((cls.__doc__ or "").split())


class Invalid(Refusal):
    """Some of the input is not acceptable; every reason is listed under "errors"."""

    kind = RefusalKind.INVALID

    @classmethod
    def code(cls) -> str:
        """Plain `Invalid` is what a schema finds, too: both have one code."""
        return "validation_failed" if cls is Invalid else super().code()


class Denied(Refusal):
    """The caller is known, but may not do this."""

    kind = RefusalKind.DENIED


class Forbidden(Denied):
    """You are signed in, but not allowed to do this."""


class NotFound(Refusal):
    """There is no such resource, or it is not the caller's to see."""

    kind = RefusalKind.NOT_FOUND


class Conflict(Refusal):
    """The request contradicts the present state."""

    kind = RefusalKind.CONFLICT


class Stale(Refusal):
    """The resource has changed since the version named in If-Match."""

    kind = RefusalKind.STALE


class StaleVersion(Stale):
    """The resource has changed since the version named in If-Match. Read it again, then decide."""


class Throttled(Refusal):
    """There were too many attempts lately."""

    kind = RefusalKind.THROTTLED

    def __init__(self, retry_after: int = 1) -> None:
        """`retry_after` in seconds."""
        super().__init__()
        self.retry_after = retry_after


class TooManyAttempts(Throttled):
    """Too many attempts. Even the right one is refused until Retry-After is over."""


class Fault(Refusal):
    """Something broke on our side. No domain raises it: it is how a message that could not be processed ends."""

    kind = RefusalKind.FAULT


class InternalError(Fault):
    """A fault on our side. It has been logged under the request id."""


def require_version(current: int, expected: int | None) -> None:
    """Refuse a change meant for another version than `current`; None accepts any.

    Raises:
        StaleVersion: `expected` names another version.
    """
    if expected is not None and expected != current:
        raise StaleVersion
