"""The other side of each figure: the least that a Flask handler can do for the same answer."""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

from celery import Celery
from flask import Flask, jsonify, request
from joserfc import jwt
from joserfc.jwk import OctKey
from kombu import Connection
from kombu.pools import producers
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from backend.program import load_program
from tasks.lanes import COMMANDS, conf_of

app = Flask(__name__)
_COLUMNS = (
    "id, email, username, name, first_name, middle_name, last_name, phone_number, gender, age, roles, is_active,"
    " email_verified, two_step, created_at, updated_at, version"
)
_KEY = OctKey.import_key(os.environ["JWT_SECRET"])
_pool: ConnectionPool[Any] | None = None


def reads() -> ConnectionPool[Any]:
    global _pool  # noqa: PLW0603 - made after the server's fork
    if _pool is None:
        url = os.environ["DATABASE_URL"]
        _pool = ConnectionPool(url, min_size=1, max_size=10, open=True, kwargs={"autocommit": True})
    return _pool


@app.get("/users/<uuid:user_id>")
def get_user(user_id: Any) -> Any:
    """One row, raw psycopg, Flask's own JSON."""
    with reads().connection() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        return jsonify(cursor.execute(f"select {_COLUMNS} from users where id = %s", (user_id,)).fetchone())


@app.post("/validate")
def validate() -> Any:
    """The same JWT, decoded and validated by the same library."""
    token = jwt.decode(request.get_json()["access_token"], _KEY, algorithms=["HS256"])
    jwt.JWTClaimsRegistry().validate(token.claims)
    return jsonify(is_valid=True, user_id=token.claims["sub"], exp=token.claims["exp"])


_CONF = conf_of(load_program())
_connection = Connection(_CONF["broker_url"], transport_options=_CONF["broker_transport_options"], heartbeat=0)


@app.post("/users")
def publish() -> Any:
    """One confirmed, mandatory, persistent publish of the body to a quorum queue."""
    message_id = str(uuid4())
    with producers[_connection].acquire(block=True, timeout=2) as producer:
        producer.publish(
            [[], request.get_json(), {}],
            exchange=COMMANDS,
            routing_key="users.hashing.anonymous",
            headers={"task": "users.create_user", "id": message_id},
            serializer="json",
            delivery_mode=2,
            mandatory=True,
            confirm_timeout=2,
        )
    return jsonify(id=message_id), 202


_celery = Celery("bare")
_celery.config_from_object("celeryconfig")
_celery.conf.update(_CONF)


@app.post("/tasks")
def send_task() -> Any:
    """The body as the Celery task that our worker would process, sent confirmed and mandatory."""
    sent = _celery.send_task(
        "users.create_user",
        kwargs=request.get_json(),
        exchange=COMMANDS,
        routing_key="users.hashing.anonymous",
        mandatory=True,
        confirm_timeout=2,
    )
    return jsonify(id=sent.id), 202
