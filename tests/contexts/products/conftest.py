from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from backend.kernel.http.caller import Authenticate, Caller
from tests.client import Client, believing

ADMIN = Caller(UUID("01900000-0000-7000-8000-00000000000a"), UUID(int=1), ("admin",))
SOMEBODY = Caller(UUID("01900000-0000-7000-8000-00000000000b"), UUID(int=2), ())


@pytest.fixture
def authenticate() -> Authenticate:
    return believing({"admin": ADMIN, "somebody": SOMEBODY})


@pytest.fixture
def visitor(app: Flask) -> Client:
    """Somebody anonymous."""
    return Client(app)


@pytest.fixture
def admin(visitor: Client) -> Client:
    return visitor.with_token("admin")


def new_product(admin: Client, **fields: Any) -> dict[str, Any]:
    """As the API shows it."""
    answer = admin.post("/products", {"name": "Laptop HP", "price": "899.99", "stock": 10, **fields})
    assert answer.status_code == 201, answer.json
    return dict(answer.json)
