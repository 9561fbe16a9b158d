"""The API as somebody sees it, in the test's own process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from flask import Flask
from werkzeug.datastructures import Headers

from backend.kernel.http.api import PREFIX
from backend.kernel.http.caller import Authenticate, Caller, InvalidToken
from tests.inline import InlineQueue

PASSWORD = "correct horse battery"
_AT_THE_ROOT = ("/api/", "/.well-known/", "/openapi.json", "/health/", "/metrics")


class Answer(Protocol):
    """A response; `json` is whatever it is."""

    status_code: int
    content_type: str
    headers: Headers
    data: bytes
    text: str
    json: Any


class Client:
    """Somebody at the API. Who waits for an outcome gets the fault of the handler, if that is what came.

    Paths are those below `/api/v1`. Headers are named arguments: `If_Match` is If-Match, and None leaves one out.

    Args:
        token: presented as access token.
        address: where the requests come from.
        waits: whether the outcome of a write is waited for, unless a call has a `Prefer` of its own.
    """

    def __init__(self, app: Flask, token: str | None = None, *, address: str = "192.0.2.1", waits: bool = True) -> None:
        self._app = app
        self._token = token
        self._address = address
        self._waits = waits

    def get(self, path: str, query: Mapping[str, Any] | None = None, **headers: str | None) -> Answer:
        return self.open("GET", _url(path), headers, query_string=query)

    def post(self, path: str, json: Any = None, *, data: Any = None, **headers: str | None) -> Answer:
        return self._write("POST", path, headers, json=json, data=data)

    def put(self, path: str, json: Any = None, **headers: str | None) -> Answer:
        return self._write("PUT", path, headers, json=json)

    def patch(self, path: str, json: Any = None, **headers: str | None) -> Answer:
        return self._write("PATCH", path, headers, json=json)

    def delete(self, path: str, *, data: Any = None, **headers: str | None) -> Answer:
        return self._write("DELETE", path, headers, data=data)

    def sign_in(self, name: str, password: str = PASSWORD) -> Answer:
        return self.post("/auth/login", {"email" if "@" in name else "username": name, "password": password})

    def with_token(self, token: str | None) -> Client:
        """Somebody else at the same address."""
        return Client(self._app, token, address=self._address, waits=self._waits)

    def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str | None] | None = None,
        environ: Mapping[str, Any] | None = None,
        **content: Any,
    ) -> Answer:
        """To any address; `environ` is put into the WSGI environment, `content` is what Flask's client takes."""
        authorization = f"Bearer {self._token}" if self._token else None
        named = {name.replace("_", "-"): text for name, text in (headers or {}).items()}
        answer = self._app.test_client(use_cookies=False).open(
            url,
            method=method,
            headers={
                name: text for name, text in {"Authorization": authorization, **named}.items() if text is not None
            },
            environ_overrides={"REMOTE_ADDR": self._address, **(environ or {})},
            **content,
        )
        if "wait" in (named.get("Prefer") or "") and isinstance(
            queue := self._app.extensions["api"].bus.queue, InlineQueue
        ):
            queue.raise_fault()
        return cast("Answer", answer)

    def _write(self, method: str, path: str, headers: dict[str, str | None], **content: Any) -> Answer:
        waiting = {"Prefer": "wait=10"} if self._waits else {}
        return self.open(method, _url(path), {**waiting, **headers}, **content)


def _url(path: str) -> str:
    return path if path.startswith(_AT_THE_ROOT) else PREFIX + path


def believing(callers: Mapping[str, Caller]) -> Authenticate:
    """In place of access tokens and sessions: each of these texts is the token of that caller."""

    def authenticate(token: str) -> Caller:
        if token not in callers:
            raise InvalidToken
        return callers[token]

    return authenticate
