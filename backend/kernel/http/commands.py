"""Commands over HTTP: accepted at once, waited for on request, polled by their handle."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from flask import Response, request
from itsdangerous import base64_decode, base64_encode
from uuid_utils.compat import uuid7
from werkzeug.http import parse_list_header

from backend.kernel.delivery.inbox import Outcome, Status
from backend.kernel.http.answers import json_response, problem_response, rooted, shown
from backend.kernel.http.api import PREFIX, api, bus, caller, current, root
from backend.kernel.http.bodies import invalid
from backend.kernel.http.problems import Problem, problem
from backend.kernel.http.shortcuts import add_notes
from backend.kernel.keys import BadSignature
from backend.kernel.messages.message import Command, Progress, Query
from backend.kernel.messages.refusals import NotFound
from backend.kernel.postgres.faults import DatabaseAway

LONGEST_WAIT = 10
"""The most seconds that a request may wait for an outcome."""
RETENTION = timedelta(days=30)
_PURPOSE = "operation"
_REUSED = "idempotency_key_reused"
_LOOK_EVERY = 0.25
_SPREADS_WITHIN = timedelta(seconds=10)
_KEY_FORM = re.compile(r"[\x21-\x7e]{1,128}")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Resource:
    """What a command creates or changes.

    Attributes:
        path: below the API's prefix, such as `/users/0190…`.
        query: the query whose view represents it.
    """

    path: str
    query: Query[Any]

    @property
    def url(self) -> str:
        """Its address."""
        return root() + PREFIX + self.path


@dataclass(frozen=True)
class Collection:
    """What a command creates, under the operation's id.

    Attributes:
        path: below the API's prefix, such as `/users`.
        query: from the new id to the query whose view represents the resource.
    """

    path: str
    query: Callable[[UUID], Query[Any]]


@dataclass(frozen=True)
class Handle:
    """The signed name of an operation, for its caller. Nothing is stored at acceptance.

    Attributes:
        owner: the signed-in caller, who may read it besides admins; None: whoever holds the handle.
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
    def resource_url(self) -> str:
        """The address of what the command creates or changes, below `root()`; "" if there is none."""
        return PREFIX + self.resource if self.resource else ""

    @property
    def url(self) -> str:
        """The address of the operation."""
        return f"{root()}{PREFIX}/operations/{self}"

    @property
    def accepted_at(self) -> datetime | None:
        """The time in the id (RFC 9562); None for an id derived from an Idempotency-Key."""
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
    """Only for a command of several steps."""


def accepts_command(view: F) -> F:
    """Mark a route that dispatches a command: the OpenAPI document then describes its headers and answers."""
    add_notes(view, command=True)
    return view


def operation_id() -> UUID:
    """The id of the operation of this request, and of what it creates.

    With an Idempotency-Key it is derived from caller, method, path and key (and the body of
    an anonymous caller), so the same request names the same operation in every process.
    """
    request = current.get()
    if request.operation_id is None:
        key = request.environ.get("HTTP_IDEMPOTENCY_KEY")
        if key is None:
            request.operation_id = uuid7()
        else:
            if not _KEY_FORM.fullmatch(key):
                invalid([{"parameter": "Idempotency-Key", "detail": "Must be 1 to 128 visible ASCII characters."}])
            request.fingerprint = _fingerprint()
            request.operation_id = _derived_id(key, request.fingerprint)
    return request.operation_id


def dispatched(
    command: Command,
    *,
    creates: Collection | None = None,
    updates: Resource | None = None,
    capability: bool = False,
    as_operation: Callable[[], bool] = lambda: False,
) -> Response:
    """Send the command to the workers and answer as the caller prefers (RFC 7240).

    Args:
        creates, updates: what the answer represents if the caller waited; with neither it is 204.
        capability: whoever holds the handle may read the operation, although its caller is signed in.
        as_operation: whether a caller who waited gets 202 with the finished operation, whatever its outcome.

    Raises:
        Unavailable: nothing was accepted.
    """
    identity, request = operation_id(), current.get()
    bus, known = request.api.bus, request.caller
    resource = Resource(f"{creates.path}/{identity}", creates.query(identity)) if creates else updates
    handle = Handle(
        identity,
        known.user_id if known and not capability else None,
        request.fingerprint,
        bus.registry.handlers[type(command)].name,
        resource.path if resource else "",
    )
    wait = wanted_wait()
    answers = _Answers(handle, resource, wait, created=creates is not None, as_operation=as_operation)
    if request.fingerprint and (known_outcome := _outcome_if_known(identity)):
        return answers.known(known_outcome)  # sent before with the same key: do not send it again
    if not wait:
        bus.dispatch(command, identity, fingerprint=request.fingerprint, resource=handle.resource_url)
        return answers.accepted()
    return _waited_for(command, answers) or answers.accepted()


def _waited_for(command: Command, answers: _Answers) -> Response | None:
    """Dispatch the command and wait for its outcome; None if there was none in time, or no slot to wait in."""
    request, handle = current.get(), answers.handle
    ready = request.api.listener.start(timeout=1)
    with request.api.waiters.slot(handle.operation_id, wanted=ready) as finished:
        request.api.bus.dispatch(
            command,
            handle.operation_id,
            fingerprint=handle.fingerprint,
            resource=handle.resource_url,
            waiting=finished is not None,
        )
        if finished is None:
            return None
        finished.wait(answers.wait)
    outcome = _outcome_if_known(handle.operation_id)
    return answers.of(outcome) if outcome else None


def operation(handle_text: str) -> Response:
    """The operation of a handle, waited for if the caller prefers so.

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
    headers = {"Cache-Control": "no-store"}  # the handle is all that an anonymous caller has
    if outcome is None:
        headers["Retry-After"] = "1"
    elif wait:
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
        resource=root() + handle.resource_url if handle.resource else None,
        error=rooted(error) if error else None,
        progress=_progress(handle) if handle.command in api().bus.reader.steps else msgspec.UNSET,
    )


def wanted_wait() -> int:
    """The seconds that the caller prefers to wait, capped; 0 for none."""
    given = current.get().environ.get("HTTP_PREFER")
    if given is None:
        return 0
    preferences = _preferences(given)
    wait = preferences.get("wait", "")
    if "respond-async" in preferences or not re.fullmatch("[0-9]{1,400}", wait):
        return 0
    return min(int(wait), LONGEST_WAIT)


def _preferences(given: str) -> dict[str, str]:
    """The Prefer headers (RFC 7240): the first of a name counts, parameters are ignored."""
    found: dict[str, str] = {}
    for preference in parse_list_header(given):
        name, _, value = preference.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found


@dataclass(frozen=True)
class _Answers:
    """The answers to one command.

    Attributes:
        wait: the seconds that its caller prefers to wait.
    """

    handle: Handle
    resource: Resource | None
    wait: int
    created: bool
    as_operation: Callable[[], bool]

    def accepted(self) -> Response:
        """202: the command was accepted."""
        view = replace(view_of(self.handle, None), accepted_at=self.handle.accepted_at or datetime.now(UTC))
        location = f"{root()}{PREFIX}/operations/{view.id}"  # not `handle.url`: that would sign it once more
        return json_response(view, 202, {"Location": location, "Retry-After": "1"})

    def known(self, outcome: Outcome) -> Response:
        """A request repeated under its key: the same operation. A reused key is refused at once."""
        if self.wait:
            return self.of(outcome)
        error = _error(self.handle, outcome)
        if error and error["code"] == _REUSED:
            return problem_response({**error, "request_id": current.get().request_id})
        headers = {"Location": self.handle.url, "Retry-After": "1"}
        return json_response(view_of(self.handle, outcome), 202, headers)

    def of(self, outcome: Outcome) -> Response:
        """The answer of a synchronous API, or the finished operation if the route says so."""
        preferred = {"Preference-Applied": f"wait={self.wait}"}
        if self.as_operation():
            headers = {"Location": self.handle.url, **preferred}
            return json_response(view_of(self.handle, outcome), 202, headers)
        error = _error(self.handle, outcome)
        if error:
            retry = {"Retry-After": str(error["retry_after"])} if "retry_after" in error else {}
            return problem_response({**error, "request_id": current.get().request_id}, {**retry, **preferred})
        if self.resource is None:
            return Response(status=204, headers=preferred)
        return self._represented(self.resource, outcome, preferred)

    def _represented(self, resource: Resource, outcome: Outcome, preferred: dict[str, str]) -> Response:
        try:
            response = shown(bus().ask(resource.query, fresh=True), 201 if self.created else 200)
        except NotFound:  # deleted meanwhile: the operation still shows that it was done
            return json_response(view_of(self.handle, outcome), 202, {"Location": self.handle.url})
        if self.created:
            response.headers["Location"] = resource.url
        response.headers.update(preferred)
        return response


def _error(handle: Handle, outcome: Outcome) -> Problem | None:
    if (outcome.fingerprint or "") != handle.fingerprint:
        return problem(
            _REUSED,
            422,
            current.get().request_id,
            "This Idempotency-Key was first sent with another body.",
            [{"parameter": "Idempotency-Key", "detail": "Was first sent with another body."}],
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
    """The worker may not know that somebody waits, so also poll the outcome."""
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
    except DatabaseAway:  # accepted, although the outcome cannot be read
        return msgspec.UNSET


def _outcome_if_known(identity: UUID) -> Outcome | None:
    try:
        return _outcome(identity)
    except DatabaseAway:  # accepted, although the outcome cannot be read
        return None


def _outcome(identity: UUID) -> Outcome | None:
    """The outcome. If its effect must be known to every API process, wait for that first."""
    outcome = bus().outcome_of(identity)
    handler = bus().registry.by_name.get(outcome.name) if outcome else None
    if outcome and handler and handler.spreads and outcome.finished_at > datetime.now(UTC) - _SPREADS_WITHIN:
        api().listener.await_everybody(bus().database)
    return outcome


def _fingerprint() -> str:
    body = request.get_data(cache=True)
    try:
        canonical = msgspec.json.encode(msgspec.json.decode(body), order="deterministic")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # empty, not JSON, or not decodable
        canonical = body
    return base64_encode(api().keyring.digest("fingerprint", canonical)[:12]).decode()


def _derived_id(key: str, fingerprint: str) -> UUID:
    """An id in the form of a UUIDv7 with a time of zero, which marks it as derived."""
    known = caller()
    whose = str(known.user_id) if known else f"anonymous {fingerprint}"
    name = "\n".join((whose, request.method, request.path.rstrip("/"), key))
    random = int.from_bytes(api().keyring.digest("idempotency", name.encode())[:10])
    return UUID(int=(0x7 << 76) | ((random >> 4) & 0xFFF) << 64 | (0b10 << 62) | (random >> 16) & ((1 << 62) - 1))
