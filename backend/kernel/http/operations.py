"""Operations over HTTP: read by their handle, waited for, listed, cancelled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
from flask import Response
from itsdangerous import base64_decode, base64_encode

from backend.kernel.delivery import inbox, restores
from backend.kernel.delivery.envelope import Envelope, Headers
from backend.kernel.delivery.inbox import REUSED, Outcome, Status
from backend.kernel.delivery.operations import ListedOperation, listed
from backend.kernel.http.answers import json_response, rooted
from backend.kernel.http.api import PREFIX, api, bus, caller, current, root
from backend.kernel.http.caller import Caller
from backend.kernel.http.paging import Listing
from backend.kernel.http.problems import Problem, problem, problem_of
from backend.kernel.keys import BadSignature
from backend.kernel.messages.message import Command, Progress
from backend.kernel.messages.paging import Page
from backend.kernel.messages.refusals import Cancelled, Forbidden, NotFound, OperationFinished, UnknownAfterRestore
from backend.kernel.observe import audit
from backend.kernel.postgres.faults import DatabaseAway

RETENTION = inbox.RETENTION.age
_PURPOSE = "operation"
_LOOK_EVERY = 0.25
_SPREADS_WITHIN = timedelta(seconds=10)
_RECENT = timedelta(seconds=10)
"""No restore takes less: an operation that was accepted since is pending."""
_DAY = 24 * 3600
_WITH_TIME = 7
_NO_DATE = 253_402_300_800_000
"""Milliseconds until the year 10000, which a `datetime` cannot hold."""
_FOR_ADMINS = {"actor", "request_id"}
_NOT_KEPT = {"Cache-Control": "no-store"}
"""The handle is all that an anonymous caller has of an operation."""
_pages = Listing[Any]("operations")


@dataclass(frozen=True)
class Handle:
    """The signed name of an operation, for its caller. Nothing is stored at acceptance.

    Attributes:
        owner: the signed-in caller, who may read it besides admins; None: whoever holds the handle.
        fingerprint: of the body, "" without an Idempotency-Key.
        day: of acceptance, for an id that is derived from an Idempotency-Key and holds no time; see `day_of`.
    """

    operation_id: UUID
    owner: UUID | None
    fingerprint: str
    command: str
    resource: str
    day: int | None = None

    def __str__(self) -> str:
        owner = base64_encode(self.owner.bytes).decode() if self.owner else ""
        identity = base64_encode(self.operation_id.bytes).decode()
        day = [] if self.day is None else [self.day]
        return api().keyring.sign(_PURPOSE, [identity, owner, self.fingerprint, self.command, self.resource, *day])

    @classmethod
    def parse(cls, text: str) -> Handle:
        """The handle that `str` made.

        Raises:
            BadSignature: forged or truncated.
        """
        identity, owner, fingerprint, command, resource, *day = api().keyring.verify(_PURPOSE, text)
        return cls(
            UUID(bytes=base64_decode(identity)),
            UUID(bytes=base64_decode(owner)) if owner else None,
            fingerprint,
            command,
            resource,
            *day,
        )

    @property
    def resource_url(self) -> str:
        """The address of what the command creates or changes, below `root()`; "" if there is none."""
        return PREFIX + self.resource if self.resource else ""

    @property
    def url(self) -> str:
        """The address of the operation."""
        return f"{root()}{PREFIX}/operations/{self}"

    @property
    def accepted_at(self) -> datetime | None:
        """The time in the id (RFC 9562); None for an id derived from an Idempotency-Key, or by another program."""
        milliseconds = self.operation_id.int >> 80
        known = self.operation_id.version == _WITH_TIME and 0 < milliseconds < _NO_DATE
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if known else None

    @property
    def accepted_before(self) -> datetime | None:
        """A time at which it had been accepted; None for the handle of an earlier release, if it was under a key."""
        if self.day is None:
            return self.accepted_at
        return datetime.fromtimestamp((self.day + 1) * _DAY - _offset(self.operation_id), UTC)


def day_of(operation_id: UUID, accepted_at: datetime) -> int:
    """The day on which an operation under an Idempotency-Key was accepted.

    A request that is repeated must get the same handle, so the handle holds no finer time. Days begin at another
    time for each id: else all that are repeated around midnight would get two handles for one operation.
    """
    return (int(accepted_at.timestamp()) + _offset(operation_id)) // _DAY


def _offset(operation_id: UUID) -> int:
    return operation_id.int % _DAY


@dataclass(frozen=True)
class OperationView:
    """An operation as its caller sees it."""

    id: str
    command: str
    status: str
    accepted_at: datetime | None
    finished_at: datetime | None
    resource: str | None
    error: Problem | None
    progress: Progress | msgspec.UnsetType = msgspec.UNSET
    """Only for a command of several steps."""


@dataclass(frozen=True)
class ListedOperationView(OperationView):
    """An operation in a listing. Only administrators see the actor and the request."""

    actor: UUID | msgspec.UnsetType | None = msgspec.UNSET
    request_id: str | msgspec.UnsetType | None = msgspec.UNSET


def operation(handle_text: str, wait: int) -> Response:
    """The operation of a handle, waited for so many seconds.

    Raises:
        NotFound: forged, another caller's, or past its retention.
    """
    handle = _readable(handle_text)
    outcome = _outcome(handle)
    if outcome is None and wait > 0 and api().listener.start(timeout=1):
        outcome = _awaited(handle, wait)
    headers = dict(_NOT_KEPT)
    if outcome is None:
        headers["Retry-After"] = "1"
    elif wait:
        headers["Preference-Applied"] = f"wait={wait}"
    return json_response(view_of(handle, outcome), 200, headers)


def cancelled(handle_text: str) -> Response:
    """End an operation that no worker has finished. Whichever commits first decides: this, or a worker.

    Raises:
        NotFound: see `operation`.
        OperationFinished: it has an outcome.
    """
    handle = _readable(handle_text)
    cancel(handle, current.get().request_id)
    return json_response(view_of(handle, _outcome(handle)), 200, _NOT_KEPT)


def cancel(handle: Handle, request_id: str) -> None:
    """As `cancelled`, for anybody who holds the handle.

    Raises:
        NotFound: past its retention.
        OperationFinished: it has an outcome.
        UnknownAfterRestore: the database was restored since.
    """
    _outcome(handle)
    with bus().database.transaction() as connection:
        ended = inbox.cancel(connection, _envelope(handle, request_id), problem_of(Cancelled(), request_id))
        code = "succeeded" if ended else OperationFinished.code()
        audit.write(connection, "operations.cancel", handle.operation_id, code, handle.command)
    if not ended:
        raise OperationFinished


def _envelope(handle: Handle, request_id: str) -> Envelope:
    """The envelope of the command, as far as the handle tells it."""
    headers = Headers(
        request_id=request_id,
        actor=handle.owner,
        accepted_at=handle.accepted_at.isoformat() if handle.accepted_at else "",
        fingerprint=handle.fingerprint,
        resource=handle.resource_url,
    )
    return Envelope(handle.operation_id, handle.command, "", {}, headers)


def operations(wanted: dict[str, Any]) -> Response:
    """The caller's operations that have an outcome or wait in the spool; for an administrator, those of all users.

    Raises:
        Forbidden: a filter that is for administrators.
    """
    known, after = caller(), _pages.after(wanted.pop("cursor", None))
    if known is None or (not known.is_admin and wanted.keys() & _FOR_ADMINS):
        raise Forbidden
    if not known.is_admin:
        wanted["actor"] = known.user_id
    if "resource" in wanted:
        wanted["resource"] = wanted["resource"].removeprefix(root())
    names = command_names()
    page = bus().database.read(lambda primary: listed(primary, names, after=after, **wanted), fresh=True)
    return _pages.answer(Page([_listed_view(one, known) for one in page.items], page.after))


def command_names() -> list[str]:
    """The wire names of commands, without those of events."""
    return [name for name, one in bus().registry.queued().items() if issubclass(one.message, Command)]


def _listed_view(one: ListedOperation, reader: Caller) -> ListedOperationView:
    keyed = bool(one.fingerprint)
    handle = Handle(
        one.id,
        one.actor,
        inbox.fingerprints_of(one.fingerprint)[0],
        one.name,
        (one.resource or "").removeprefix(PREFIX),
        day_of(one.id, one.accepted_at) if keyed and one.accepted_at else None,
    )
    return ListedOperationView(
        id=str(handle),
        command=one.name,
        status=one.status,
        accepted_at=handle.accepted_at or one.accepted_at,
        finished_at=one.finished_at,
        resource=root() + one.resource if one.resource else None,
        error=rooted(one.problem) if one.problem else None,
        actor=one.actor if reader.is_admin else msgspec.UNSET,
        request_id=one.request_id if reader.is_admin else msgspec.UNSET,
    )


def view_of(handle: Handle, outcome: Outcome | None) -> OperationView:
    """The operation as JSON shows it."""
    error = error_of(handle, outcome) if outcome else None
    return OperationView(
        id=str(handle),
        command=handle.command,
        status=("failed" if error else outcome.status) if outcome else "pending",
        accepted_at=handle.accepted_at or (outcome.accepted_at if outcome else None),
        finished_at=outcome.finished_at if outcome else None,
        resource=root() + handle.resource_url if handle.resource else None,
        error=rooted(error) if error else None,
        progress=_progress(handle) if handle.command in api().bus.reader.steps else msgspec.UNSET,
    )


def error_of(handle: Handle, outcome: Outcome) -> Problem | None:
    """Why the operation failed, if it did; a reused key fails without touching the operation."""
    if not outcome.is_of(handle.fingerprint):
        return problem(
            REUSED,
            422,
            _reused_by(handle),
            "This Idempotency-Key was first sent with another body.",
            [{"parameter": "Idempotency-Key", "detail": "Was first sent with another body."}],
        )
    return outcome.problem if outcome.status == Status.FAILED else None


def _reused_by(handle: Handle) -> str:
    """The id of the request that sent the key again; of this one, until a worker has seen that request's message."""
    second = outcome_if_known(inbox.reuse_of(handle.operation_id, handle.fingerprint), handle.fingerprint)
    return (second and second.request_id) or current.get().request_id


def outcome_if_known(operation_id: UUID, fingerprint: str) -> Outcome | None:
    """The outcome for the command with this fingerprint, if there is one and the database answers."""
    try:
        return _concerning(fingerprint, bus().outcome_of(operation_id))
    except DatabaseAway:  # accepted, although the outcome cannot be read
        return None


def _readable(handle_text: str) -> Handle:
    try:
        handle = Handle.parse(handle_text)
    except (BadSignature, ValueError):
        raise NotFound from None
    known = caller()
    if handle.owner and not (known and (known.is_admin or known.user_id == handle.owner)):
        raise NotFound
    return handle


def _outcome(handle: Handle) -> Outcome | None:
    """The outcome; None while there is none.

    Raises:
        NotFound: past its retention.
        UnknownAfterRestore: the database was restored since.
    """
    outcome = _concerning(handle.fingerprint, bus().outcome_of(handle.operation_id))
    settled_at, now = outcome.finished_at if outcome else handle.accepted_before, datetime.now(UTC)
    if settled_at and settled_at < now - RETENTION:
        raise NotFound
    if outcome is None and settled_at and settled_at < now - _RECENT:
        _check_restores(handle.operation_id, settled_at)
    return outcome


def _check_restores(operation_id: UUID, accepted_at: datetime) -> None:
    if bus().database.read(lambda primary: restores.is_unknown(primary, operation_id, accepted_at), fresh=True):
        raise UnknownAfterRestore


def _concerning(fingerprint: str, outcome: Outcome | None) -> Outcome | None:
    """The outcome, if it concerns that command. If its effect must be known to every API process, wait for that."""
    if outcome is None or not outcome.concerns(fingerprint):
        return None
    handler = bus().registry.by_name.get(outcome.name)
    if handler and handler.spreads and outcome.finished_at > datetime.now(UTC) - _SPREADS_WITHIN:
        api().listener.await_everybody(bus().database)
    return outcome


def _awaited(handle: Handle, wait: int) -> Outcome | None:
    """The worker may not know that somebody waits, so also poll the outcome."""
    end = monotonic() + wait
    with api().waiters.slot(handle.operation_id, anonymous=caller() is None) as finished:
        while finished is not None and (left := end - monotonic()) > 0:
            finished.wait(min(left, _LOOK_EVERY))
            outcome = _outcome(handle)
            if outcome is not None:
                return outcome
    return None


def _progress(handle: Handle) -> Progress | msgspec.UnsetType:
    try:
        return bus().progress_of(handle.command, handle.operation_id) or msgspec.UNSET
    except DatabaseAway:  # accepted, although the outcome cannot be read
        return msgspec.UNSET
