"""Celery, as its guide "Optimizing" tunes many short tasks: a long prefetch, no results, no rate limits, no events."""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

from celery import Celery
from flask import Flask, jsonify, request

from bench.peers.rows import insert

celery = Celery("peer", broker=os.environ["BROKER_URL"])
celery.conf.update(
    task_ignore_result=True,
    task_default_queue="peer_celery",
    worker_prefetch_multiplier=64,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
)
app = Flask(__name__)


@celery.task(name="insert_row")
def insert_row(row_id: str, name: str, price: str) -> None:
    insert(row_id, name, price)


@app.post("/rows")
def accept() -> Any:
    row_id, body = str(uuid4()), request.get_json()
    insert_row.delay(row_id, body["name"], body["price"])
    return jsonify(id=row_id), 202
