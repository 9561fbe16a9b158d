"""Refusals: a rule of the domain said no. A refusal is an outcome: it is reported, never retried.

    Refusal
    ├── Invalid       the input breaks a rule
    ├── Denied        the caller is not allowed to do this, or did not prove who they are
    ├── NotFound      it does not exist, or the caller may not see it
    ├── Conflict      it conflicts with the current state
    ├── Stale         the caller decided on an older version
    ├── Throttled     too many attempts, too many requests
    ├── Busy          not now; nothing was checked or done
    └── Fault         not a decision of the domain: something broke on our side

A context declares its own as subclasses. The class name is the code of the problem (`EmailTaken` is `email_taken`),
the docstring is the text of its page. `backend/kernel/http/problems.py` maps kinds to HTTP statuses.
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
    UNPROVEN = "unproven"  # the caller did not prove who they are
    DENIED = "denied"  # the caller is not allowed to do this
    NOT_FOUND = "not_found"  # it does not exist for this caller
    CONFLICT = "conflict"  # it conflicts with the current state
    STALE = "stale"  # decided on an older version
    THROTTLED = "throttled"  # too many recent attempts
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
        keeps_effects: whether what the handler wrote before it refused is kept, such as the count of a failed attempt.
        retry_after: seconds after which a retry may succeed; None if a retry cannot.
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
    """Some of the input is invalid. Every reason is listed under `errors`."""

    kind = RefusalKind.INVALID

    @classmethod
    def code(cls) -> str:
        """A schema reports plain `Invalid` too: both have one code."""
        return "validation_failed" if cls is Invalid else super().code()


class Denied(Refusal):
    """The caller is not allowed to do this."""

    kind = RefusalKind.DENIED


class Forbidden(Denied):
    """You are signed in, but not allowed to do this."""


class WrongPassword(Denied):
    """The current password is incorrect. The attempt was counted."""


class ReauthenticationRequired(Denied):
    """You signed in too long ago for this. Confirm your password again, then repeat the request."""


class NotFound(Refusal):
    """The resource does not exist, or the caller may not see it."""

    kind = RefusalKind.NOT_FOUND


class UnknownAfterRestore(NotFound):
    """The database was restored to an earlier state after this was accepted. Whether it took effect is unknown. Look at
    the resource, and send the command again if its effect is missing.
    """


class Conflict(Refusal):
    """The request conflicts with the current state."""

    kind = RefusalKind.CONFLICT


class Cancelled(Conflict):
    """The command was cancelled before a worker had finished it. It had no effect."""


class OperationFinished(Conflict):
    """The operation has an outcome already. It can no longer be cancelled."""


class Stale(Refusal):
    """The resource has changed since the version named in If-Match."""

    kind = RefusalKind.STALE


class StaleVersion(Stale):
    """The resource has changed since the version named in If-Match. Read it again, then retry."""


class Throttled(Refusal):
    """There were too many recent attempts."""

    kind = RefusalKind.THROTTLED

    def __init__(self, retry_after: int = 1) -> None:
        """`retry_after` in seconds."""
        super().__init__()
        self.retry_after = retry_after


class TooManyAttempts(Throttled):
    """Too many attempts. Until the time in Retry-After has passed, correct ones are refused as well."""


class TooManyRequests(Throttled):
    """Too many such requests, from your network or in all. Nothing was done. Retry after the time in Retry-After."""


class Busy(Refusal):
    """Too many sign-ins are in progress. Nothing was checked or counted. Retry after the time in Retry-After."""

    kind = RefusalKind.BUSY
    retry_after = 2


class Fault(Refusal):
    """Something broke on our side. No domain raises it: a message that could not be processed ends with it."""

    kind = RefusalKind.FAULT


class InternalError(Fault):
    """An internal error. It has been logged under the request id."""


def require_version(current: int, expected: int | None) -> None:
    """Refuse a change meant for another version than `current`; None accepts any.

    Raises:
        StaleVersion: `expected` names another version.
    """
    if expected is not None and expected != current:
        raise StaleVersion
