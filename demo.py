"""`make demo`: a tour of the running program, each request as the curl command that anyone may repeat."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

ROOT = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
PASSWORD = "correct horse battery"  # noqa: S105 - of people who do not exist
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # through no proxy: it runs on this machine
_SHOWN_HEADERS = ("Location", "Retry-After", "Preference-Applied", "WWW-Authenticate")
_WIDTH = 100


@dataclass(frozen=True)
class Answer:
    """The headers of a response, and its body decoded."""

    headers: Any
    body: Any


def main() -> int:
    """Give the tour; 1 if the program does not run."""
    try:
        _tour()
    except urllib.error.URLError as problem:
        print(f"\nNothing answers at {ROOT} ({problem.reason}): start it with `make run` in another terminal.")
        return 1
    return 0


def _tour() -> None:
    run = token_hex(3)
    ada = {"name": "Ada", "email": f"ada-{run}@example.com", "password": PASSWORD}

    _say("Every write is a command. It is accepted with 202 and a handle; a worker processes it.")
    accepted = _call("POST", "/api/v1/users", ada)

    _say("The handle gives the outcome. Prefer: wait=10 waits for it.")
    _call("GET", accepted.headers["Location"], prefer="wait=10")

    _say("The same request again: a refusal is an outcome, too. A client that waits gets it as the answer.")
    _call("POST", "/api/v1/users", ada, prefer="wait=10")

    _say("The type of a refusal is the address of a page that explains it.")
    _call("GET", "/problems/email_taken", accept="text/html")

    _say("Ada signs in and reads her profile.")
    token = _call("POST", "/api/v1/auth/login", {key: ada[key] for key in ("email", "password")}).body["access_token"]
    _call("GET", "/api/v1/users/me", token=token)

    _say("She repeats a request with the same Idempotency-Key: it is one operation, with one handle.")
    for _ in range(2):
        _call("PATCH", "/api/v1/users/me", {"name": "Ada Lovelace"}, token=token, idempotency_key=run)

    if _offers("/api/v1/products"):
        _tour_of_products(run, token)

    _say(f"That is the tour. Every endpoint: {ROOT}/docs")


def _tour_of_products(run: str, token: str) -> None:
    """What only a program with the context `products` has."""
    laptop = {"name": "Laptop HP", "sku": f"HP-{run}", "price": "899.99", "stock": 10}
    admin = {"email": f"admin-{run}@example.com", "password": PASSWORD}

    _say("Only administrators create products. An operator creates the first administrator.")
    _call("POST", "/api/v1/products", laptop, token=token)
    _make_admin(admin["email"])
    token = _call("POST", "/api/v1/auth/login", admin).body["access_token"]
    product = _call("POST", "/api/v1/products", laptop, token=token, prefer="wait=10").headers["Location"]

    _say("Stock moves through a ledger. It never falls below zero, under any concurrency.")
    taken = {"quantity": 8, "reason": "sold"}
    _call("POST", f"{product}/stock/remove", taken, token=token, prefer="wait=10")
    _call("POST", f"{product}/stock/remove", taken, token=token, prefer="wait=10")
    _call("GET", f"{product}/stock/movements", token=token)


def _offers(path: str) -> bool:
    with _DIRECTLY.open(f"{ROOT}/openapi.json", timeout=30) as document:
        return path in json.load(document)["paths"]


def _make_admin(email: str) -> None:
    command = ["flask", "users", "create-admin", "--email", email, "--name", "Admin"]
    print(f"\n$ ADMIN_PASSWORD=… {shlex.join(command)}", flush=True)
    flask = Path(sys.executable).with_name("flask")
    environment = {**os.environ, "FLASK_APP": "wsgi", "ADMIN_PASSWORD": PASSWORD}
    subprocess.run((flask, *command[1:]), env=environment, check=True)


def _call(method: str, path: str, body: Any = None, *, token: str = "", **headers: str) -> Answer:
    """Print the request as curl and the response as curl -i would; an error status is a response like any other."""
    sent = {name.replace("_", "-").title(): value for name, value in headers.items()}
    if body is not None:
        sent["Content-Type"] = "application/json"
    if token:
        sent["Authorization"] = f"Bearer {token}"
    url = path if path.startswith("http") else ROOT + path
    _print_curl(method, url, body, {**sent, "Authorization": "Bearer $TOKEN"} if token else sent)
    data = None if body is None else json.dumps(body).encode()
    try:
        response = _DIRECTLY.open(urllib.request.Request(url, data, sent, method=method), timeout=30)
    except urllib.error.HTTPError as refusal:
        response = refusal
    with response:
        text = response.read().decode()
        print(f"\nHTTP/1.1 {response.status} {response.reason}")
        for name in _SHOWN_HEADERS:
            if name in response.headers:
                print(f"{name}: {_cut(response.headers[name])}")
        if "json" not in response.headers.get_content_subtype():
            print(f"({len(text)} characters of {response.headers.get_content_type()})")
            return Answer(response.headers, text)
        decoded = json.loads(text)
        print(*map(_cut, json.dumps(decoded, indent=2, ensure_ascii=False).splitlines()), sep="\n")
        return Answer(response.headers, decoded)


def _print_curl(method: str, url: str, body: Any, headers: dict[str, str]) -> None:
    words = [f"-X {method} {url}"] + [f'-H "{name}: {value}"' for name, value in headers.items()]
    if body is not None:
        words.append(f"-d {shlex.quote(json.dumps(body))}")
    print("\n$ curl -i " + " \\\n    ".join(words))


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}")


if __name__ == "__main__":
    sys.exit(main())
