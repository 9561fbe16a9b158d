"""A plain HTTP client: what a frontend sees, statuses above 399 included."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

from tests.worker import eventually


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Message
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)


class Client:
    """Speaks to the API at an address."""

    def __init__(self, base: str) -> None:
        self._base = base
        self.port = urlsplit(base).port

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, None, headers)

    def post(self, path: str, body: Mapping[str, Any], **headers: str) -> Answer:
        return self._ask("POST", path, json.dumps(body).encode(), headers)

    def put(self, path: str, body: Mapping[str, Any], **headers: str) -> Answer:
        return self._ask("PUT", path, json.dumps(body).encode(), headers)

    def outcome(self, accepted: Answer, **headers: str) -> dict[str, Any]:
        """The operation that was accepted, once it is no longer pending."""
        assert accepted.status == 202, accepted.content

        def finished() -> dict[str, Any] | None:
            answer = self.get(accepted.headers["Location"], Prefer="wait=10", **headers)
            operation: dict[str, Any] | None = answer.body if answer.status == 200 else None
            return operation if operation and operation["status"] != "pending" else None

        found: dict[str, Any] = eventually(finished)
        return found

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        request = urllib.request.Request(self._base + path, body, method=method)  # noqa: S310 - our own address
        request.add_header("Content-Type", "application/json")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())
