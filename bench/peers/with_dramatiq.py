"""dramatiq on RabbitMQ, with the processes and threads that its command starts by default."""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from flask import Flask, jsonify, request

from bench.peers.rows import insert

dramatiq.set_broker(RabbitmqBroker(url=os.environ["BROKER_URL"]))
app = Flask(__name__)


@dramatiq.actor(queue_name="peer_dramatiq")
def insert_row(row_id: str, name: str, price: str) -> None:
    insert(row_id, name, price)


@app.post("/rows")
def accept() -> Any:
    row_id, body = str(uuid4()), request.get_json()
    insert_row.send(row_id, body["name"], body["price"])
    return jsonify(id=row_id), 202
