"""Many remove from one stock at once: what is there is given out, and not one more."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from tests.flow.client import Client
from tests.flow.programs import administrator
from tests.worker import WorkerProcess

_STOCK, _REMOVALS, _CLIENTS = 50, 200, 40


def test_of_200_parallel_removals_from_a_stock_of_50_exactly_50_succeed(
    api: Client, worker: WorkerProcess, settings: Mapping[str, str]
) -> None:
    """On RabbitMQ, by two workers of two processes each. The others are refused, and ledger and stock agree."""
    admin = administrator(api, settings)
    offered = {"name": "Laptop HP", "price": "899.99", "stock": _STOCK}
    created = api.post("/api/v1/products", offered, Prefer="wait=10", **admin)
    assert created.status == 201, created.content
    product = created.headers["Location"]

    second = WorkerProcess(settings, "--pool", "prefork", "--concurrency", "2")
    with second, ThreadPoolExecutor(_CLIENTS) as clients:
        assert len(worker.children()) + len(second.children()) == 4
        accepted = list(
            clients.map(
                lambda _: api.post(f"{product}/stock/remove", {"quantity": 1}, **admin),
                range(_REMOVALS),
            )
        )
        operations = list(clients.map(lambda answer: api.outcome(answer, **admin), accepted))
        assert second.terminate() == 0

    refused = [operation["error"] for operation in operations if operation["status"] == "failed"]
    assert {(problem["status"], problem["code"]) for problem in refused} == {(409, "insufficient_stock")}
    assert len(refused) == _REMOVALS - _STOCK
    assert len([operation for operation in operations if operation["status"] == "succeeded"]) == _STOCK
    assert api.get(product).body["stock"] == 0
    ledger = api.get(f"{product}/stock/movements?limit=100", **admin).body["items"]
    assert [movement["quantity"] for movement in ledger] == [-1] * _STOCK + [_STOCK]
    assert [movement["balance"] for movement in ledger] == list(range(_STOCK + 1))
