from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from backend.kernel.http.caller import Authenticate, Caller, InvalidToken

ADMIN = Caller(UUID("01900000-0000-7000-8000-00000000000a"), UUID(int=1), ("admin",))
SOMEBODY = Caller(UUID("01900000-0000-7000-8000-00000000000b"), UUID(int=2), ())
_CALLERS = {"admin": ADMIN, "somebody": SOMEBODY}


@pytest.fixture(name="authenticate")
def _authenticate() -> Authenticate:
    return authenticate


def authenticate(token: str) -> Caller:
    if token not in _CALLERS:
        raise InvalidToken
    return _CALLERS[token]


class Shop:
    """The API as a caller of one kind sees it. Commands are waited for unless `Prefer` says otherwise."""

    def __init__(self, client: FlaskClient, token: str | None) -> None:
        self._client = client
        self._token = token

    def get(self, path: str, **headers: str) -> TestResponse:
        return self._client.get(self._url(path), headers=self._headers(headers))

    def post(self, path: str, json: Any = None, **headers: str) -> TestResponse:
        return self._client.post(self._url(path), json=json, headers=self._headers(headers, wait=True))

    def patch(self, path: str, json: Any, **headers: str) -> TestResponse:
        return self._client.patch(self._url(path), json=json, headers=self._headers(headers, wait=True))

    def put(self, path: str, json: Any, **headers: str) -> TestResponse:
        return self._client.put(self._url(path), json=json, headers=self._headers(headers, wait=True))

    def upload(self, path: str, content: str | bytes, media_type: str, **headers: str) -> TestResponse:
        """Not waited for."""
        given = {**self._headers(headers), "Content-Type": media_type}
        return self._client.post(self._url(path), data=content, headers=given)

    def product(self, **fields: Any) -> dict[str, Any]:
        """A new product."""
        answer = self.post("/products", {"name": "Laptop HP", "price": "899.99", "stock": 10, **fields})
        assert answer.status_code == 201, answer.json
        return dict(answer.json)  # type: ignore[arg-type]

    def _url(self, path: str) -> str:
        return path if path.startswith("/api/") else f"/api/v1{path}"

    def _headers(self, headers: dict[str, str], *, wait: bool = False) -> dict[str, str]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        authorization = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        return {**({"Prefer": "wait=10"} if wait else {}), **authorization, **given}


@pytest.fixture
def seen_by(app: Flask) -> Callable[[str | None], Shop]:
    return lambda token: Shop(app.test_client(), token)


@pytest.fixture
def admin(seen_by: Callable[[str | None], Shop]) -> Shop:
    return seen_by("admin")


@pytest.fixture
def visitor(seen_by: Callable[[str | None], Shop]) -> Shop:
    """Somebody anonymous."""
    return seen_by(None)
