"""flask-smorest, configured with what every route of this API has in common."""

from __future__ import annotations

import http
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from threading import Lock
from typing import Any, TypeVar, cast

import marshmallow as ma
from apispec.ext.marshmallow import MarshmallowPlugin, resolver
from flask import Flask, request
from flask_smorest import Api as SmorestApi
from flask_smorest import Blueprint as SmorestBlueprint

from backend.kernel.http.answers import json_response
from backend.kernel.http.api import api, root
from backend.kernel.http.bodies import Parser
from backend.kernel.http.caller import WITHOUT_ROLE
from backend.kernel.http.cookies import ACCESS, CrossSite
from backend.kernel.http.document import complete, is_versioned
from backend.kernel.http.pages import reason_of
from backend.kernel.http.problems import CONTENT_TYPE, http_problem, problem, problem_of, status_of
from backend.kernel.http.shortcuts import add_notes, notes_of
from backend.kernel.messages.refusals import Cancelled, Forbidden, Refusal, StaleVersion

F = TypeVar("F", bound=Callable[..., Any])
_REQUEST_ID = "0190a2b47c3e7d1a8f003b5e9c2d4a10"
_ETAG = '"0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a10.3"'
PREFER: dict[str, Any] = {
    "in": "header",
    "name": "Prefer",
    "schema": {"type": "string", "examples": ["wait=5"]},
    "description": "`wait=N`: wait at most N seconds (up to 10) for the outcome. "
    "`respond-async`: answer at once (RFC 7240).",
}
_COMMAND_HEADERS = [
    PREFER,
    {
        "in": "header",
        "name": "Idempotency-Key",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[\\x21-\\x7e]+$"},
        "description": "Identifies this request. Repeated with the same key and body, it takes effect once.",
    },
]
_IF_MATCH = {
    "in": "header",
    "name": "If-Match",
    "schema": {"type": "string", "examples": [_ETAG]},
    "description": "The ETag of the version to change. Any other version is refused with `412 stale_version`.",
}
_IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "schema": {"type": "string", "examples": [_ETAG]},
    "description": "The ETag of the version you have. If it is current, the answer is 304.",
}

_SIGNED_IN: list[dict[str, list[str]]] = [{"bearer": []}, {"cookie": []}]
_SECURITY: dict[str, list[dict[str, list[str]]]] = {"none": [], "public": [{}, *_SIGNED_IN]}


_COOKIE = {
    "type": "apiKey",
    "in": "cookie",
    "name": f"{ACCESS.prefix}{ACCESS.plain_name}",
    "description": "A sign-in with `X-Session: cookie` sets it. A write by cookie requires `X-CSRF: 1` and an `Origin` "
    f"that is ours or in `CORS_ORIGINS`. Over plain HTTP on a loopback address its name is `{ACCESS.plain_name}`.",
}


class FieldErrorSchema(ma.Schema):
    """One error: its place in the body, or the query parameter or header."""

    pointer = ma.fields.String(metadata={"description": "JSON pointer into the body.", "examples": ["/email"]})
    parameter = ma.fields.String(metadata={"description": "Query parameter or header.", "examples": ["limit"]})
    detail = ma.fields.String(required=True, metadata={"examples": ["Missing data for required field."]})


class ProblemSchema(ma.Schema):
    """Problem details (RFC 9457)."""

    type = ma.fields.String(
        required=True, metadata={"description": "A page that explains the problem.", "format": "uri-reference"}
    )
    title = ma.fields.String(required=True)
    status = ma.fields.Integer(required=True)
    detail = ma.fields.String(required=True)
    code = ma.fields.String(required=True, metadata={"description": "Stable: branch on this."})
    request_id = ma.fields.String(required=True, metadata={"description": "Quote it when you report the problem."})
    errors = ma.fields.List(ma.fields.Nested(FieldErrorSchema), metadata={"description": "With every 422."})
    retry_after = ma.fields.Integer(metadata={"description": "Seconds, with 429.", "examples": [30]})


class FailureSchema(ma.Schema):
    """A part of an operation that failed, such as a row of an import."""

    line = ma.fields.Integer(required=True, metadata={"description": "The line of the file, counted from 1."})
    problem = ma.fields.Nested(ProblemSchema, required=True)


class ProgressSchema(ma.Schema):
    """The progress of an operation."""

    done = ma.fields.Integer(
        required=True, metadata={"description": "How many of `total` are done, including failed ones."}
    )
    total = ma.fields.Integer(required=True)
    failed = ma.fields.Integer(required=True)
    failures = ma.fields.List(ma.fields.Nested(FailureSchema), required=True)


class OperationSchema(ma.Schema):
    """An operation: the status and the outcome of a command."""

    id = ma.fields.String(required=True, metadata={"description": "The signed, URL-safe handle."})
    command = ma.fields.String(required=True, metadata={"examples": ["users.create_user"]})
    status = ma.fields.String(required=True, validate=ma.validate.OneOf(["pending", "succeeded", "failed"]))
    accepted_at = ma.fields.DateTime(
        required=True,
        allow_none=True,
        metadata={"description": "null while pending if the request had an Idempotency-Key."},
    )
    finished_at = ma.fields.DateTime(required=True, allow_none=True)
    resource = ma.fields.String(
        required=True, allow_none=True, metadata={"examples": ["/api/v1/users/0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a10"]}
    )
    error = ma.fields.Nested(ProblemSchema, required=True, allow_none=True)
    progress = ma.fields.Nested(
        ProgressSchema, metadata={"description": "Only for a command that takes several steps, such as an import."}
    )


def refuses(*kinds: type[Refusal]) -> Callable[[F], F]:
    """Document the refusals that a route may answer with, or that its operation may end with."""

    def document(view: F) -> F:
        add_notes(view, refusals=(*notes_of(view).get("refusals", ()), *kinds))
        return view

    return document


class Blueprint(SmorestBlueprint):  # type: ignore[misc]
    """A context's routes. The OpenAPI document says who may call each, and how it may fail."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks.append(_tell_the_contract)

    def register_views_in_doc(self, api: DocumentedApi, *args: Any, **kwargs: Any) -> None:
        """flask-smorest's, deferred."""
        api.write_later(partial(super().register_views_in_doc, api, *args, **kwargs))

    def arguments(self, schema: ma.Schema | type[ma.Schema], **kwargs: Any) -> Callable[[F], F]:
        """flask-smorest's: validate the body or query and pass it to the view.

        One schema instance serves all requests: creating one copies every field, which costs as much as loading a body.
        """
        instance = schema() if isinstance(schema, type) else schema
        return cast("Callable[[F], F]", super().arguments(instance, **kwargs))

    def doc(self, **kwargs: Any) -> Callable[[F], F]:
        """flask-smorest's: add to the document as it is."""
        return cast("Callable[[F], F]", super().doc(**kwargs))

    def response(self, status: int, schema: Any = None, **kwargs: Any) -> Callable[[F], F]:
        """flask-smorest's, for the document only: our views return a finished response."""
        described = super().response(status, schema, **kwargs)
        choices = schema.get("anyOf", ()) if isinstance(schema, dict) else (schema,)
        versioned = any(is_versioned(getattr(one, "_declared_fields", {})) for one in choices)

        def document(view: F) -> F:
            add_notes(view, **notes_of(described(view)), versioned=versioned)
            return view

        return document


class DocumentedApi(SmorestApi):  # type: ignore[misc]
    """The OpenAPI document, with problem details for every error. Errors are rendered elsewhere.

    It is generated on the first request for it: that takes almost a second, which would delay every start.
    """

    ERROR_SCHEMA = ProblemSchema

    def __init__(self, app: Flask) -> None:
        self._writing = Lock()
        self._unwritten: list[Callable[[], None]] = []
        self._document: dict[str, Any] | None = None
        super().__init__(app, spec_kwargs={"marshmallow_plugin": MarshmallowPlugin(schema_name_resolver=_schema_name)})

    def write_later(self, part: Callable[[], None]) -> None:
        """Defer a part of the document."""
        self._unwritten.append(part)

    def _openapi_json(self) -> Any:
        with self._writing:
            while self._unwritten:
                self._unwritten.pop(0)()
            if self._document is None:
                self._document = complete(self.spec.to_dict(), api().settings.public_url)
        here, *others = self._document["servers"]
        document = {**self._document, "servers": [{**here, "url": root() or "/"}, *others]}
        response = json_response(document)
        response.add_etag()
        return response.make_conditional(request)

    def _register_responses(self) -> None:
        self.write_later(self._write_responses)

    def _write_responses(self) -> None:
        for status in http.HTTPStatus:
            if status >= http.HTTPStatus.BAD_REQUEST:
                example = http_problem(int(status), _REQUEST_ID)
                self.spec.components.response(status.name, _problems(int(status), {example["code"]: example}))
        self.spec.components.response(
            "DEFAULT_ERROR", {"description": "Any other error.", "content": {CONTENT_TYPE: {"schema": ProblemSchema}}}
        )
        self.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
        self.spec.components.security_scheme("cookie", _COOKIE)

    def _register_error_handlers(self) -> None:
        """The application renders every error itself."""


def _schema_name(schema: ma.Schema | type[ma.Schema]) -> str:
    """The name in the document. `NewLoan(partial=True)` is `LoanChanges`: it may stand beside `NewLoan`."""
    name = resolver(schema)  # type: ignore[arg-type]  # takes instances too
    partial = isinstance(schema, ma.Schema) and schema.partial
    return f"{name.removeprefix('New').removesuffix('Fields')}Changes" if partial else name


def _tell_the_contract(doc: dict[str, Any], info: dict[str, Any], *, method: str, **_: Any) -> dict[str, Any]:
    """A callback of flask-smorest: complete the document of one operation from what its decorators recorded."""
    responses, parameters = doc.setdefault("responses", {}), doc.setdefault("parameters", [])
    access = info.get("access", "public")
    of_the_kind = _of_the_kind(access, method, is_command="command" in info)
    refusals: tuple[type[Refusal], ...] = (*info.get("refusals", ()), *of_the_kind)
    doc["security"] = _SECURITY.get(access, _SIGNED_IN)
    _show_a_body(doc)
    if info.get("command"):
        parameters += _COMMAND_HEADERS
        responses[202] = _response("Accepted. Poll the operation for its outcome.", OperationSchema)
    if _takes_if_match(method, info):
        parameters.append(_IF_MATCH)
    if method == "get" and info.get("versioned"):
        parameters.append(_IF_NONE_MATCH)
        responses[304] = {"description": "You have this version."}
    plain = _statuses(doc, info, method)
    for status in sorted(plain | {status_of(kind) for kind in refusals}):
        examples = [problem_of(kind(), _REQUEST_ID) for kind in refusals if status_of(kind) == status]
        examples += _plain_examples(status, is_command=bool(info.get("command"))) if status in plain else []
        responses[status] = _problems(status, {example["code"]: example for example in examples})
    return doc


def _show_a_body(doc: dict[str, Any]) -> None:
    """A valid example: the schema's own, or one built from its fields."""
    content = doc.get("requestBody", {}).get("content", {}).get("application/json")
    if content is not None:
        schema: ma.Schema = content["schema"]
        fields = {name: field.metadata.get("examples", ()) for name, field in schema.fields.items()}
        of_every_field = {name: examples[0] for name, examples in fields.items() if examples}
        content["examples"] = {"body": {"value": getattr(schema, "EXAMPLE", of_every_field)}}


def _of_the_kind(access: str, method: str, *, is_command: bool) -> Iterator[type[Refusal]]:
    if access not in WITHOUT_ROLE:
        yield Forbidden
    if access != "none" and method != "get":
        yield CrossSite
    if is_command:
        yield Cancelled


def _statuses(doc: dict[str, Any], info: dict[str, Any], method: str) -> set[int]:
    """The errors that follow from the kind of operation."""
    statuses = {404, 500, 503}
    if info.get("access") != "none":
        statuses.add(401)
    if method != "get":
        statuses |= {413, 415}
    if "requestBody" in doc or "requestBody" in info.get("manual_doc", ()):
        statuses |= {400, 422}
    elif "arguments" in info or info.get("command"):
        statuses.add(422)
    if _takes_if_match(method, info):
        statuses.add(412)
    return statuses


def _takes_if_match(method: str, info: dict[str, Any]) -> bool:
    changes = bool(info.get("command")) and method in ("put", "patch", "delete")
    return changes or StaleVersion in info.get("refusals", ())


def _plain_examples(status: int, *, is_command: bool) -> Iterator[dict[str, Any]]:
    """The answers of every operation of this kind."""
    if status == http.HTTPStatus.UNAUTHORIZED:
        yield problem(
            "invalid_token", status, _REQUEST_ID, "The access token is missing, malformed, expired or revoked."
        )
    elif status == http.HTTPStatus.UNPROCESSABLE_ENTITY:
        reason = {"pointer": "/email", "detail": "Missing data for required field."}
        yield problem("validation_failed", status, _REQUEST_ID, "Some values are invalid.", [reason])
        if is_command:
            reason = {"parameter": "Idempotency-Key", "detail": "Was first sent with another body."}
            text = "This Idempotency-Key was first sent with another body."
            yield problem("idempotency_key_reused", status, _REQUEST_ID, text, [reason])
    elif status == http.HTTPStatus.PRECONDITION_FAILED:
        yield problem("stale_version", status, _REQUEST_ID, "The resource has changed since that version.")
    else:
        yield http_problem(status, _REQUEST_ID)


def _response(description: str, schema: type[ma.Schema]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problems(status: int, examples: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Problem details with one of these codes."""
    one_of_these = {"type": "string", "enum": sorted(examples)}
    codes = {"type": "object", "required": ["code"], "properties": {"code": one_of_these}}
    return {
        "description": reason_of(status),
        "content": {
            CONTENT_TYPE: {
                "schema": {"allOf": [ProblemSchema, codes]},
                "examples": {code: {"value": example} for code, example in examples.items()},
            }
        },
    }
