"""The ways a domain says no. A refusal is an outcome: it is reported, never retried.

A context declares its own as subclasses; the class name is the code on the wire
(`EmailTaken` is `email_taken`), the docstring is what the problem's page says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from backend.kernel.messages.event import snake_case


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
    """The request was understood and will not be carried out."""

    keeps_effects: ClassVar[bool] = False
    """Whether what the handler wrote before it refused stays: the count of a failed attempt must."""

    def __init__(self, detail: str = "", errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail or self.description()
        self.errors = tuple(errors)

    def headers(self) -> dict[str, str]:
        """What the answer tells in headers, such as when to try again."""
        return {}

    @classmethod
    def code(cls) -> str:
        """The stable name callers may branch on."""
        return snake_case(cls.__name__)

    @classmethod
    def description(cls) -> str:
        """What it means, from the docstring."""
        return " ".join((cls.__doc__ or "").split())


class Invalid(Refusal):
    """Some of the input is not acceptable; every reason is listed under "errors"."""


class Denied(Refusal):
    """The caller is known, but may not do this."""


class TooManyAttempts(Denied):
    """Too many attempts. Even the right one is refused until Retry-After is over."""

    status: ClassVar[int] = 429

    def __init__(self, retry_after: int = 1) -> None:
        """`retry_after` in seconds."""
        super().__init__()
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        """Retry-After."""
        return {"Retry-After": str(self.retry_after)}


class NotFound(Refusal):
    """There is no such resource, or it is not the caller's to see."""


class Conflict(Refusal):
    """The request contradicts the present state."""


class Stale(Refusal):
    """The resource has changed since the version named in If-Match."""


class StaleVersion(Stale):
    """The resource has changed since the version named in If-Match. Read it again, then decide."""


def require_version(current: int, expected: int | None) -> None:
    """Refuse a change meant for another version than `current`; None accepts any.

    Raises:
        StaleVersion: `expected` names another version.
    """
    if expected is not None and expected != current:
        raise StaleVersion
