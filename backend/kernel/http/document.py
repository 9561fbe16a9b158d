"""Completes the OpenAPI document: adds what generated clients need, and removes what is unused."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from backend.kernel.http.api import PREFIX

Document = dict[str, Any]
_METHODS = ("get", "put", "post", "patch", "delete")
_OPERATION = "operations.get"
_ALIAS = "the same as"
_TEXT = {"type": "string"}
_SECONDS = {"type": "integer", "minimum": 1}
_LOCATION = {"type": "string", "format": "uri-reference"}
_REQUEST_ID = {"description": "The request's id; quote it when you report a problem.", "schema": _TEXT}
_HEADERS: dict[str, dict[str, Any]] = {
    "Accept-Encoding": {"description": "`identity`, if the body was encoded.", "schema": _TEXT},
    "Content-Disposition": {"description": "The name of the file.", "schema": _TEXT},
    "ETag": {"description": "Names the resource and its version.", "schema": _TEXT},
    "Link": {"description": 'The next page: `<…>; rel="next"` (RFC 8288). Absent on the last page.', "schema": _TEXT},
    "Location": {"description": "The new resource, or the operation.", "schema": _LOCATION},
    "Preference-Applied": {"description": "`wait=N`, if the answer was waited for.", "schema": _TEXT},
    "Retry-After": {"description": "Seconds until the next try may succeed.", "schema": _SECONDS},
    "Set-Cookie": {
        "description": "The tokens of a session in cookies, or nothing in them at its end.",
        "schema": _TEXT,
    },
    "WWW-Authenticate": {"description": 'Such as `Bearer error="invalid_token"`.', "schema": _TEXT},
}


def complete(document: Document, public_url: str) -> Document:
    """The document with everything that follows from its parts."""
    document["servers"] = [
        {"url": "/", "description": "Where this document was read."},
        {"url": public_url, "description": "The public address."},
    ]
    document["info"]["license"] = {"name": "MIT", "identifier": "MIT"}
    document["info"]["contact"] = {"name": "Whoever runs this API", "url": public_url}
    versioned = {f"#/components/schemas/{name}" for name, one in _schemas(document) if is_versioned(one["properties"])}
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                _complete_operation(item[method], path, method, item, versioned)
    for response in document["components"]["responses"].values():
        response["headers"] = _described()
    document["components"]["headers"] = {"RequestId": _REQUEST_ID, **_HEADERS}
    _drop_unused(document)
    return document


def is_versioned(fields: Collection[str]) -> bool:
    """Whether they are those of a single resource, which has an ETag."""
    return "id" in fields and "version" in fields


def _schemas(document: Document) -> Iterator[tuple[str, Document]]:
    return ((name, one) for name, one in document["components"]["schemas"].items() if "properties" in one)


def _complete_operation(operation: Document, path: str, method: str, item: Document, versioned: set[str]) -> None:
    operation.setdefault("operationId", operation_id(operation, path, method, item))
    operation.setdefault("description", operation["summary"])
    if _ALIAS in operation["summary"]:
        operation["deprecated"] = True
    is_command = any(parameter.get("name") == "Idempotency-Key" for parameter in operation.get("parameters", ()))
    for status, response in operation["responses"].items():
        if "$ref" not in response:
            names = set(_headers_of(str(status), response, is_command=is_command))
            if str(status) == "304" or not versioned.isdisjoint(_references(response.get("content", {}))):
                names.add("ETag")
            response["headers"] = _described(*sorted(names))
    if is_command:
        operation["responses"]["202"]["links"] = {
            "operation": {
                "operationId": _OPERATION,
                "parameters": {"handle": "$response.body#/id"},
                "description": "The status and the outcome of the command.",
            }
        }


def _described(*names: str) -> Document:
    of_every_answer = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
    return {**of_every_answer, **{name: {"$ref": f"#/components/headers/{name}"} for name in names}}


def operation_id(operation: Document, path: str, method: str, item: Document) -> str:
    """The operationId, the name of a client's method, such as `products.stock.add`."""
    parts = path.removeprefix(PREFIX).strip("/").split("/")
    name = ".".join(_camel(part) for part in parts if not part.startswith("{"))
    if parts[-1].startswith("{"):
        return f"{name}.{_VERBS[method]}"
    if method == "get" and _lists(operation):
        return f"{name}.list"
    if method == "post":
        return f"{name}.create" if "201" in operation["responses"] and "get" in item else name
    alone = sum(one in item for one in _METHODS) == 1 and method != "delete"
    return name if alone else f"{name}.{_VERBS[method]}"


_VERBS = {"get": "get", "put": "replace", "post": "create", "patch": "update", "delete": "delete"}


def _camel(part: str) -> str:
    return re.sub("-(.)", lambda found: found[1].upper(), part)


def _lists(operation: Document) -> bool:
    content = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
    return bool(re.search("(Page|List|Groups|Lanes|Workers)$", content.get("schema", {}).get("$ref", "")))


def _headers_of(status: str, response: Document, *, is_command: bool) -> Iterator[str]:
    yield from response.get("headers", ())
    if status in ("429", "503"):
        yield "Retry-After"
    if status == "401":
        yield "WWW-Authenticate"
    if status == "415":
        yield "Accept-Encoding"
    if status == "201":
        yield "Location"
    if status == "202" and is_command:
        yield from ("Location", "Retry-After")
    if is_command:
        yield "Preference-Applied"
    schema = response.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
    if status == "200" and schema.endswith("Page"):
        yield "Link"
    if "text/csv" in response.get("content", {}):
        yield "Content-Disposition"


def _drop_unused(document: Document) -> None:
    """Remove components that nothing refers to, until none is left."""
    components = document["components"]
    while True:
        used = set(_references(document))
        unused = [
            (kind, name)
            for kind in ("schemas", "responses", "headers", "parameters")
            for name in components.get(kind, {})
            if f"#/components/{kind}/{name}" not in used
        ]
        if not unused:
            return
        for kind, name in unused:
            del components[kind][name]
            if not components[kind]:
                del components[kind]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
