"""Commands over HTTP: accepted at once, waited for when asked, found again by their handle."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, TypeVar, cast
from uuid import UUID

import msgspec
from flask import Response, g, request
from itsdangerous import base64_decode, base64_encode
from uuid_utils.compat import uuid7
from werkzeug.http import parse_list_header

from backend.kernel.delivery.inbox import Outcome, Status
from backend.kernel.delivery.sealing import BadSignature
from backend.kernel.http.answers import json_response, problem_response, shown
from backend.kernel.http.api import PREFIX, api, bus
from backend.kernel.http.bodies import invalid
from backend.kernel.http.guards import caller
from backend.kernel.http.problems import Problem, problem
from backend.kernel.http.shortcuts import behind, header
from backend.kernel.messages.message import Command, Progress, Query
from backend.kernel.messages.refusals import NotFound
from backend.kernel.postgres.faults import DatabaseAway

LONGEST_WAIT = 10
"""Seconds a request may wait for an outcome."""
RETENTION = timedelta(days=30)
_PURPOSE = "operation"
_REUSED = "idempotency_key_reused"
_LOOK_EVERY = 0.25
_SPREADS_WITHIN = timedelta(seconds=10)
_KEY_FORM = re.compile(r"[\x21-\x7e]{1,128}")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Resource:
    """What a command makes or changes.

    Attributes:
        path: below the API's prefix, such as `/users/0190…`.
        query: the question whose answer represents it.
    """

    path: str
    query: Query[Any]

    @property
    def url(self) -> str:
        """Its address on this server."""
        return PREFIX + self.path


@dataclass(frozen=True)
class Handle:
    """What a caller holds of an operation. It is signed, so nothing is stored at acceptance.

    Attributes:
        owner: the signed-in caller, the only one beside admins who may read it; None: whoever holds it.
        fingerprint: of the body, "" without an Idempotency-Key.
    """

    operation_id: UUID
    owner: UUID | None
    fingerprint: str
    command: str
    resource: str

    def __str__(self) -> str:
        owner = base64_encode(self.owner.bytes).decode() if self.owner else ""
        identity = base64_encode(self.operation_id.bytes).decode()
        return api().keyring.sign(_PURPOSE, [identity, owner, self.fingerprint, self.command, self.resource])

    @classmethod
    def parse(cls, text: str) -> Handle:
        """The handle that `str` made.

        Raises:
            BadSignature: forged or truncated.
        """
        identity, owner, fingerprint, command, resource = api().keyring.verify(_PURPOSE, text)
        return cls(
            UUID(bytes=base64_decode(identity)),
            UUID(bytes=base64_decode(owner)) if owner else None,
            fingerprint,
            command,
            resource,
        )

    @property
    def url(self) -> str:
        """Where the operation is read."""
        return f"{PREFIX}/operations/{self}"

    @property
    def accepted_at(self) -> datetime | None:
        """From the time in the id (RFC 9562); None for an id derived from an Idempotency-Key."""
        milliseconds = self.operation_id.int >> 80
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


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
    """Only of a command that takes several steps."""


def accepts_command(view: F) -> F:
    """Mark a route that dispatches a command: the OpenAPI document then tells its headers and answers."""
    view._apidoc = {**getattr(view, "_apidoc", {}), "command": True}  # type: ignore[attr-defined]
    return view


def operation_id() -> UUID:
    """The id of the operation that this request asks for; what it creates bears the same id.

    With an Idempotency-Key it is derived from caller, method, path and key (and the body of
    someone anonymous), so the same request names the same operation on every process.
    """
    kept = behind(g)
    if "operation_id" not in kept:
        kept.fingerprint, identity = "", uuid7()
        key = header("HTTP_IDEMPOTENCY_KEY")
        if key is not None:
            if not _KEY_FORM.fullmatch(key):
                invalid([{"parameter": "Idempotency-Key", "detail": "Must be 1 to 128 visible ASCII characters."}])
            kept.fingerprint = _fingerprint()
            identity = _derived_id(key, kept.fingerprint)
        kept.operation_id = identity
    return cast("UUID", kept.operation_id)


def dispatched(
    command: Command,
    *,
    creates: Resource | None = None,
    updates: Resource | None = None,
    capability: bool = False,
    as_operation: bool = False,
) -> Response:
    """Send the command to the workers and answer as the caller prefers (RFC 7240).

    Args:
        creates, updates: what the answer represents when the caller waited; neither is 204.
        capability: whoever holds the handle may read the operation, although its caller is signed in.
        as_operation: answer 202 with the finished operation to a caller who waited, whatever came of it.

    Raises:
        Unavailable: nothing was accepted.
    """
    parts, identity, resource, known = api(), operation_id(), creates or updates, caller()
    fingerprint: str = behind(g).fingerprint
    handle = Handle(
        identity,
        known.user_id if known and not capability else None,
        fingerprint,
        parts.bus.registry.handler_of(type(command)).name,
        resource.path if resource else "",
    )
    wait = wanted_wait()
    known_outcome = _outcome_if_known(identity) if fingerprint else None

    def answer(outcome: Outcome) -> Response:
        if as_operation:
            return _finished(handle, outcome, wait)
        return _synchronous(handle, outcome, resource, created=creates is not None, wait=wait)

    if known_outcome is not None:  # sent before, with the same key: nothing is to be done again
        return answer(known_outcome) if wait else _known(handle, known_outcome)
    ready = wait > 0 and parts.listener.start(timeout=1)
    with parts.waiters.slot(identity, wanted=ready) as finished:
        parts.bus.dispatch(
            command,
            identity,
            fingerprint=fingerprint,
            resource=resource.url if resource else "",
            waiting=finished is not None,
        )
        if finished is not None:
            finished.wait(wait)
            outcome = _outcome_if_known(identity)
            if outcome is not None:
                return answer(outcome)
    return _accepted(handle)


def operation(handle_text: str) -> Response:
    """The operation behind a handle, waited for when the caller prefers so.

    Raises:
        NotFound: forged, another caller's, or past its retention.
    """
    handle = _readable(handle_text)
    outcome = _outcome(handle.operation_id)
    wait = wanted_wait()
    if outcome is None and wait > 0 and api().listener.start(timeout=1):
        outcome = _awaited(handle.operation_id, wait)
    if outcome is None and handle.accepted_at and handle.accepted_at < datetime.now(UTC) - RETENTION:
        raise NotFound
    headers = {} if outcome else {"Retry-After": "1"}
    if outcome and wait:
        headers["Preference-Applied"] = f"wait={wait}"
    return json_response(view_of(handle, outcome), 200, headers)


def view_of(handle: Handle, outcome: Outcome | None) -> OperationView:
    """The operation as JSON shows it."""
    error = _error(handle, outcome) if outcome else None
    return OperationView(
        id=str(handle),
        command=handle.command,
        status=("failed" if error else outcome.status) if outcome else "pending",
        accepted_at=handle.accepted_at or (outcome.accepted_at if outcome else None),
        finished_at=outcome.finished_at if outcome else None,
        resource=f"{PREFIX}{handle.resource}" if handle.resource else None,
        error=error,
        progress=_progress(handle),
    )


def wanted_wait() -> int:
    """Seconds the caller prefers to wait, capped; 0 when not at all."""
    preferences = _preferences()
    wait = preferences.get("wait", "")
    if "respond-async" in preferences or not re.fullmatch("[0-9]{1,400}", wait):
        return 0
    return min(int(wait), LONGEST_WAIT)


def _preferences() -> dict[str, str]:
    """The Prefer headers (RFC 7240): the first of a name counts, parameters are ignored."""
    found: dict[str, str] = {}
    for preference in parse_list_header(header("HTTP_PREFER") or ""):
        name, _, value = preference.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found


def _accepted(handle: Handle) -> Response:
    view = view_of(handle, None)
    if view.accepted_at is None:
        view = replace(view, accepted_at=datetime.now(UTC))
    location = f"{PREFIX}/operations/{view.id}"
    return json_response(view, 202, {"Location": location, "Retry-After": "1"})


def _known(handle: Handle, outcome: Outcome) -> Response:
    """The operation of a repeated request; a reused key is refused at once."""
    error = _error(handle, outcome)
    if error and error["code"] == _REUSED:
        return problem_response({**error, "request_id": g.request_id})
    return json_response(view_of(handle, outcome), 202, {"Location": handle.url, "Retry-After": "1"})


def _finished(handle: Handle, outcome: Outcome, wait: int) -> Response:
    headers = {"Location": handle.url, "Preference-Applied": f"wait={wait}"}
    return json_response(view_of(handle, outcome), 202, headers)


def _synchronous(handle: Handle, outcome: Outcome, resource: Resource | None, *, created: bool, wait: int) -> Response:
    """What a synchronous API would have answered."""
    error = _error(handle, outcome)
    if error:
        headers = {"Retry-After": str(error["retry_after"])} if "retry_after" in error else {}
        response = problem_response({**error, "request_id": g.request_id}, headers)
    elif resource is None:
        response = Response(status=204)
    else:
        try:
            response = shown(bus().ask(resource.query, fresh=True), 201 if created else 200)
        except NotFound:  # removed again meanwhile: the operation still tells that it was done
            return json_response(view_of(handle, outcome), 202, {"Location": handle.url})
        if created:
            response.headers["Location"] = resource.url
    response.headers["Preference-Applied"] = f"wait={wait}"
    return response


def _error(handle: Handle, outcome: Outcome) -> Problem | None:
    if (outcome.fingerprint or "") != handle.fingerprint:
        return problem(
            _REUSED,
            422,
            g.request_id,
            "This Idempotency-Key was first sent with another body.",
            [{"parameter": "Idempotency-Key", "detail": "First sent with another body."}],
        )
    return outcome.problem if outcome.status == Status.FAILED else None


def _readable(handle_text: str) -> Handle:
    try:
        handle = Handle.parse(handle_text)
    except (BadSignature, ValueError):
        raise NotFound from None
    known = caller()
    if handle.owner and not (known and (known.is_admin or known.user_id == handle.owner)):
        raise NotFound
    return handle


def _awaited(identity: UUID, wait: int) -> Outcome | None:
    """Its worker may not know that somebody waits, so look now and then as well."""
    end = monotonic() + wait
    with api().waiters.slot(identity) as finished:
        while finished is not None and (left := end - monotonic()) > 0:
            finished.wait(min(left, _LOOK_EVERY))
            outcome = _outcome(identity)
            if outcome is not None:
                return outcome
    return None


def _progress(handle: Handle) -> Progress | msgspec.UnsetType:
    try:
        return bus().progress_of(handle.command, handle.operation_id) or msgspec.UNSET
    except DatabaseAway:  # accepted all the same
        return msgspec.UNSET


def _outcome_if_known(identity: UUID) -> Outcome | None:
    try:
        return _outcome(identity)
    except DatabaseAway:  # accepted all the same
        return None


def _outcome(identity: UUID) -> Outcome | None:
    """The outcome, told once every API process knows of its effect, where it must."""
    outcome = bus().outcome_of(identity)
    handler = bus().registry.by_name.get(outcome.name) if outcome else None
    if outcome and handler and handler.spreads and outcome.finished_at > datetime.now(UTC) - _SPREADS_WITHIN:
        api().listener.await_everybody(bus().database)
    return outcome


def _fingerprint() -> str:
    body = request.get_data(cache=True)
    try:
        canonical = msgspec.json.encode(msgspec.json.decode(body), order="deterministic")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # none, not JSON, or one that nobody reads
        canonical = body
    return base64_encode(api().keyring.digest("fingerprint", canonical)[:12]).decode()


def _derived_id(key: str, fingerprint: str) -> UUID:
    """An id in UUIDv7's form whose time is zero: it says that it was derived, and sorts before all others."""
    known = caller()
    whose = str(known.user_id) if known else f"anonymous {fingerprint}"
    name = "\n".join((whose, request.method, request.path.rstrip("/"), key))
    random = int.from_bytes(api().keyring.digest("idempotency", name.encode())[:10])
    return UUID(int=(0x7 << 76) | ((random >> 4) & 0xFFF) << 64 | (0b10 << 62) | (random >> 16) & ((1 << 62) - 1))
