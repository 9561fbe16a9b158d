"""procrastinate: synchronous connector for Flask, asynchronous jobs, finished jobs are deleted."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import procrastinate
from flask import Flask, jsonify, request

from bench.peers.rows import URL, insert_async

worker = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=URL, min_size=1, max_size=8))
app = Flask(__name__)
_opened: list[procrastinate.App] = []


@worker.task(queue="peers", name="insert_row")
async def insert_row(row_id: str, name: str, price: str) -> None:
    await insert_async(row_id, name, price)


@app.post("/rows")
def accept() -> Any:
    if not _opened:  # after the server's fork
        accepting = worker.with_connector(procrastinate.SyncPsycopgConnector(conninfo=URL, min_size=1, max_size=10))
        accepting.open()
        _opened.append(accepting)
    row_id, body = str(uuid4()), request.get_json()
    _opened[0].configure_task("insert_row", queue="peers").defer(row_id=row_id, name=body["name"], price=body["price"])
    return jsonify(id=row_id), 202
