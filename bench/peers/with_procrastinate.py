"""procrastinate: synchronous connector for Flask, asynchronous jobs, finished jobs are deleted."""

from __future__ import annotations

from functools import cache
from typing import Any
from uuid import uuid4

import procrastinate
from flask import Flask, jsonify, request

from bench.peers.rows import URL, insert_async

worker = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=URL, min_size=1, max_size=10))
app = Flask(__name__)


@worker.task(queue="peers", name="insert_row")
async def insert_row(row_id: str, name: str, price: str) -> None:
    await insert_async(row_id, name, price)


@cache
def opened() -> procrastinate.App:
    """The application with its synchronous connector; opened after the server's fork."""
    worker.open()
    return worker


@app.post("/rows")
def accept() -> Any:
    opened()
    row_id, body = str(uuid4()), request.get_json()
    insert_row.defer(row_id=row_id, name=body["name"], price=body["price"])
    return jsonify(id=row_id), 202
