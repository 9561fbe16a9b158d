"""Answers compared with the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

METHODS = ("get", "put", "post", "patch", "delete")
_OF_EVERY_ANSWER = {"content-type", "content-length", "cache-control", "vary", "x-content-type-options"}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each with its method and path."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def codes(response: dict[str, Any]) -> set[str]:
    """Of the problems that it may bring."""
    _, narrowed = response["content"]["application/problem+json"]["schema"]["allOf"]
    return set(narrowed["properties"]["code"]["enum"])


def undescribed(
    document: dict[str, Any], operation_id: str, status: int, headers: Iterable[str], code: str | None
) -> set[str]:
    """What the document does not say of an answer: its status, the names of its headers, the code of its problem."""
    found = next(one for _, _, one in operations(document) if one["operationId"] == operation_id)
    response = found["responses"].get(str(status))
    if response is None:
        return {str(status)}
    known = _OF_EVERY_ANSWER | {name.lower() for name in response["headers"]}
    others = {name.lower() for name in headers} - known
    return others | {code} - codes(response) if code else others
