"""Products over HTTP: each test keeps a sentence of the contract's "Products", in its docstring or its name."""

from __future__ import annotations

from typing import Any

import pytest
from uuid_utils.compat import uuid7

from tests.client import Client
from tests.contexts.products.conftest import ADMIN, new_product
from tests.inline import InlineQueue

FIELDS = {
    "id",
    "sku",
    "name",
    "description",
    "price",
    "stock",
    "low_stock_threshold",
    "is_active",
    "created_at",
    "updated_at",
    "version",
}

WRITES = pytest.mark.parametrize(
    ("action", "body"),
    [
        ("", {"name": "Other"}),
        ("/stock/add", {"quantity": 1}),
        ("/stock/remove", {"quantity": 1}),
        ("/activate", None),
        ("/deactivate", None),
    ],
)


def names(client: Client, query: str) -> list[str]:
    answer = client.get(f"/products?{query}")
    assert answer.status_code == 200, answer.json
    return [product["name"] for product in answer.json["items"]]


def errors(answer: Any) -> list[str]:
    """Where a 422 says that something is wrong."""
    assert answer.status_code == 422, answer.json
    return [error.get("pointer", error.get("parameter")) for error in answer.json["errors"]]


def test_the_body_of_the_contract_works_as_it_stands(admin: Client) -> None:
    """Bodies that must work as they stand: POST /products."""
    body = {"name": "Laptop HP", "description": "Laptop HP 15 pulgadas", "price": 899.99, "stock": 10}
    answer = admin.post("/products", body)

    assert answer.status_code == 201
    assert answer.json.keys() == FIELDS
    assert answer.headers["Location"] == f"/api/v1/products/{answer.json['id']}"
    assert {**body, "price": "899.99"}.items() <= answer.json.items()
    assert (answer.json["sku"], answer.json["low_stock_threshold"], answer.json["is_active"]) == (None, 5, True)


def test_an_operation_names_the_product_before_there_is_one(admin: Client, queue: InlineQueue) -> None:
    """Every write to products is a command: 202, then the outcome."""
    accepted = admin.post("/products", {"name": "Mouse", "price": "9.5", "stock": 0}, Prefer="respond-async")
    assert accepted.status_code == 202
    assert accepted.json["command"] == "products.create_product"

    queue.drain()
    assert admin.get(accepted.headers["Location"]).json["status"] == "succeeded"
    assert admin.get(accepted.json["resource"]).json["price"] == "9.50"


@pytest.mark.parametrize("token", [None, "somebody"])
def test_only_admins_write_and_read_the_ledger(admin: Client, visitor: Client, token: str | None) -> None:
    client, path = visitor.with_token(token), f"/products/{new_product(admin)['id']}"
    status = 401 if token is None else 403

    answers = [
        client.post("/products", {}),
        client.put(path, {}),
        client.patch(path, {}),
        *(client.post(f"{path}/{action}", {}) for action in ("stock/add", "stock/remove", "activate", "deactivate")),
        client.get(f"{path}/stock/movements"),
    ]
    assert {answer.status_code for answer in answers} == {status}


@pytest.mark.parametrize("price", ["899.999", "1e2", "-1", "NaN", "Infinity", "", None, True, -0.01, 1.001, [], 10**10])
def test_a_price_that_is_negative_or_has_more_than_two_places_is_422(admin: Client, price: Any) -> None:
    assert errors(admin.post("/products", {"name": "x", "stock": 1, "price": price})) == ["/price"]


def test_a_number_is_read_as_it_is_written(admin: Client) -> None:
    """More than two places are 422, also where a float would have rounded them away."""
    for digits, status in [("1.00000000000000000001", 422), ("1e400", 422), ("NaN", 400), ("9999999999.99", 201)]:
        body = f'{{"name": "x", "stock": 1, "price": {digits}}}'
        answer = admin.post("/products", data=body, Content_Type="application/json")
        assert (digits, answer.status_code) == (digits, status)
    assert answer.json["price"] == "9999999999.99"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "bell\a"),
        ("name", "x" * 201),
        ("description", "x" * 5001),
        ("sku", " "),
        ("sku", "x" * 65),
        ("stock", -1),
        ("stock", 2**31),
        ("stock", 1.5),
        ("stock", "1"),
        ("low_stock_threshold", -1),
        ("colour", "red"),
    ],
)
def test_what_a_field_may_not_be_is_422(admin: Client, field: str, value: Any) -> None:
    body = {"name": "Mouse", "price": 1, "stock": 1, field: value}
    assert errors(admin.post("/products", body)) == [f"/{field}"]


def test_name_price_and_stock_are_required(admin: Client) -> None:
    assert sorted(errors(admin.post("/products", {}))) == ["/name", "/price", "/stock"]


def test_a_taken_sku_is_409_sku_taken(admin: Client) -> None:
    new_product(admin, sku="HP-15")
    other = new_product(admin, sku="HP-17")
    for answer in (
        admin.post("/products", {"name": "Copy", "price": 1, "stock": 1, "sku": "HP-15"}),
        admin.patch(f"/products/{other['id']}", {"sku": "HP-15"}),
    ):
        assert (answer.status_code, answer.json["code"]) == (409, "sku_taken")


@pytest.mark.parametrize("method", ["put", "patch"])
def test_put_and_patch_change_only_the_fields_present(admin: Client, method: str) -> None:
    product = new_product(admin, sku="HP-15", description="15 pulgadas")
    answer = getattr(admin, method)(f"/products/{product['id']}", {"price": 1, "description": None})

    assert answer.status_code == 200
    assert {**answer.json, "updated_at": ""} == {
        **product,
        "price": "1.00",
        "description": None,
        "version": 2,
        "updated_at": "",
    }


def test_an_empty_change_is_fine_and_changes_nothing(admin: Client) -> None:
    product = new_product(admin)
    assert admin.patch(f"/products/{product['id']}", {}).json == product


def test_stock_moves_only_through_the_ledger(admin: Client) -> None:
    """`stock` is 422 in PUT and PATCH."""
    path = f"/products/{new_product(admin)['id']}"
    assert errors(admin.put(path, {"stock": 3})) == ["/stock"]
    assert errors(admin.patch(path, {"name": "x", "stock": 3})) == ["/stock"]


def test_a_required_field_cannot_be_cleared(admin: Client) -> None:
    path = f"/products/{new_product(admin)['id']}"
    assert errors(admin.patch(path, {"name": None, "price": None})) == ["/name", "/price"]


def test_adding_and_removing_moves_the_stock(admin: Client) -> None:
    path = f"/products/{new_product(admin, stock=10)['id']}"
    assert admin.post(f"{path}/stock/add", {"quantity": 5}).json["stock"] == 15
    answer = admin.post(f"{path}/stock/remove", {"quantity": 15, "reason": "sold out"})
    assert (answer.status_code, answer.json["stock"]) == (200, 0)


def test_removing_more_than_there_is_is_409_insufficient_stock_and_changes_nothing(admin: Client) -> None:
    product = new_product(admin, stock=10)
    answer = admin.post(f"/products/{product['id']}/stock/remove", {"quantity": 11})

    assert (answer.status_code, answer.json["code"]) == (409, "insufficient_stock")
    assert admin.get(f"/products/{product['id']}").json == product


def test_adding_more_than_can_be_counted_is_409_stock_too_large(admin: Client) -> None:
    product = new_product(admin, stock=1)
    answer = admin.post(f"/products/{product['id']}/stock/add", {"quantity": 2**31 - 1})
    assert (answer.status_code, answer.json["code"]) == (409, "stock_too_large")


@pytest.mark.parametrize("quantity", [0, -1, 1.5, "1", None, True, 2**31])
def test_a_quantity_is_at_least_1(admin: Client, quantity: Any) -> None:
    path = f"/products/{new_product(admin)['id']}"
    assert errors(admin.post(f"{path}/stock/add", {"quantity": quantity})) == ["/quantity"]
    assert errors(admin.post(f"{path}/stock/remove", {"quantity": quantity})) == ["/quantity"]


def test_the_ledger_tells_every_change_with_who_when_why_and_the_balance_after(admin: Client) -> None:
    """Movements: id, quantity (signed), balance, reason, actor_id, created_at. The first stock is the first."""
    path = f"/products/{new_product(admin, stock=10)['id']}"
    admin.post(f"{path}/stock/add", {"quantity": 5, "reason": "delivery"})
    admin.post(f"{path}/stock/remove", {"quantity": 3})
    admin.post(f"{path}/stock/remove", {"quantity": 300})

    items = admin.get(f"{path}/stock/movements").json["items"]
    assert [(item["quantity"], item["balance"], item["reason"]) for item in items] == [
        (-3, 12, None),
        (5, 15, "delivery"),
        (10, 10, None),
    ]
    assert {item["actor_id"] for item in items} == {str(ADMIN.user_id)}
    assert items[0].keys() == {"id", "quantity", "balance", "reason", "actor_id", "created_at"}
    assert items[0]["created_at"] >= items[1]["created_at"] >= items[2]["created_at"]


def test_the_actor_is_the_caller_and_not_a_field(admin: Client) -> None:
    path = f"/products/{new_product(admin)['id']}"
    assert errors(admin.post(f"{path}/stock/add", {"quantity": 1, "actor_id": str(uuid7())})) == ["/actor_id"]


def test_the_ledger_has_pages(admin: Client) -> None:
    path = f"/products/{new_product(admin, stock=1)['id']}"
    for _ in range(4):
        admin.post(f"{path}/stock/add", {"quantity": 1})

    balances, url = [], f"/api/v1{path}/stock/movements?limit=2"
    while url:
        page = admin.get(url)
        balances += [item["balance"] for item in page.json["items"]]
        url = page.headers.get("Link", "").partition(">")[0].removeprefix("<")
        admin.post(f"{path}/stock/add", {"quantity": 1})  # what comes meanwhile moves nothing
    assert balances == [5, 4, 3, 2, 1]


def test_a_cursor_of_another_product_s_movements_is_422(admin: Client) -> None:
    one, other = (f"/products/{new_product(admin)['id']}/stock" for _ in range(2))
    admin.post(f"{one}/add", {"quantity": 1})
    cursor = admin.get(f"{one}/movements?limit=1").json["next_cursor"]

    assert admin.get(f"{one}/movements?cursor={cursor}").status_code == 200
    assert admin.get(f"{other}/movements?cursor={cursor}").status_code == 422


@pytest.mark.parametrize("query", ["limit=0", "cursor=forged"])
def test_that_there_is_no_product_is_told_before_what_is_wrong_with_the_query(admin: Client, query: str) -> None:
    """Order of checks: 404 of the resource, then 422."""
    assert admin.get(f"/products/{uuid7()}/stock/movements?{query}").status_code == 404
    assert admin.get(f"/products/{new_product(admin)['id']}/stock/movements?{query}").status_code == 422


def test_one_idempotency_key_moves_the_stock_once(admin: Client) -> None:
    path = f"/products/{new_product(admin, stock=10)['id']}"
    for _ in range(3):
        answer = admin.post(f"{path}/stock/remove", {"quantity": 4}, Idempotency_Key="order-1042")
        assert answer.json["stock"] == 6


def test_inactive_products_are_seen_by_admins_only(admin: Client, visitor: Client) -> None:
    product = new_product(admin, name="Hidden")
    path = f"/products/{product['id']}"
    assert admin.post(f"{path}/deactivate").json["is_active"] is False

    assert visitor.get(path).status_code == 404
    assert (names(visitor, ""), names(visitor, "is_active=false")) == ([], [])
    assert admin.get(path).status_code == 200
    assert (names(admin, ""), names(admin, "is_active=false"), names(admin, "is_active=true")) == (
        ["Hidden"],
        ["Hidden"],
        [],
    )

    assert admin.post(f"{path}/activate").json["is_active"] is True
    assert visitor.get(path).status_code == 200
    assert names(visitor, "") == ["Hidden"]


def test_a_command_about_no_product_ends_as_404(admin: Client) -> None:
    """What only the worker can find comes with the outcome."""
    path = f"/products/{uuid7()}"
    for answer in (
        admin.patch(path, {"name": "x"}),
        *(admin.post(f"{path}/{action}", {"quantity": 1}) for action in ("stock/add", "stock/remove")),
        *(admin.post(f"{path}/{action}") for action in ("activate", "deactivate")),
        admin.get(path),
        admin.get(f"{path}/stock/movements"),
    ):
        assert (answer.status_code, answer.json["code"]) == (404, "product_not_found")


def test_a_product_carries_its_version_as_etag(admin: Client, visitor: Client) -> None:
    """Single resources carry a strong ETag; If-None-Match gives 304; every change is another version."""
    path = f"/products/{new_product(admin)['id']}"
    tag = visitor.get(path).headers["ETag"]
    assert visitor.get(path, If_None_Match=tag).status_code == 304

    admin.post(f"{path}/stock/add", {"quantity": 1})
    assert visitor.get(path, If_None_Match=tag).status_code == 200


@WRITES
def test_a_write_with_another_products_tag_ends_as_412(admin: Client, action: str, body: Any) -> None:
    path, other = (f"/products/{new_product(admin)['id']}" for _ in range(2))
    tag = admin.get(other).headers["ETag"]
    assert admin.get(path, If_None_Match=tag).status_code == 200
    write = admin.post if action else admin.put
    refused = write(path + action, body, If_Match=tag)
    assert (refused.status_code, refused.json["code"]) == (412, "stale_version")


@WRITES
def test_a_write_with_a_stale_if_match_ends_as_412(admin: Client, action: str, body: Any) -> None:
    path = f"/products/{new_product(admin)['id']}"
    tag = admin.get(path).headers["ETag"]
    changed = admin.patch(path, {"name": "Changed"}, If_Match=tag)
    assert changed.status_code == 200

    write = admin.patch if action == "" else admin.post
    stale = write(path + action, body, If_Match=tag)
    assert (stale.status_code, stale.json["code"]) == (412, "stale_version")
    assert admin.get(path).json == changed.json


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("laptop", ["Laptop HP"]),
        ("PULGADAS laptop", ["Laptop HP"]),
        ("laptop mouse", []),
        ("lap", []),
        ("dell", ["Dock HP/Dell"]),
        ("HP/Dell dock", ["Dock HP/Dell"]),
        ("15.6", ["Laptop HP"]),
        ("usb-c", ["Dock HP/Dell"]),
        ("jamón", ["Jamón & queso, el mejor"]),
        ("jamo\u0301n", ["Jamón & queso, el mejor"]),
        ("el", ["Jamón & queso, el mejor"]),
        ("laptop or mouse", []),
        ("-laptop", ["Laptop HP"]),
        ("'laptop\" | & ! ( ) <-> :* \\ %", ["Laptop HP"]),
        ("&|!", []),
    ],
)
def test_q_finds_products_with_all_words_in_name_or_description(admin: Client, words: str, found: list[str]) -> None:
    new_product(admin, name="Laptop HP", description="15.6 pulgadas")
    new_product(admin, name="Dock HP/Dell", description="USB-C")
    new_product(admin, name="Jamón & queso, el mejor")
    answer = admin.get("/products", {"q": words})
    assert [product["name"] for product in answer.json["items"]] == found


def test_q_with_nul_is_422(visitor: Client) -> None:
    assert errors(visitor.get("/products?q=%00")) == ["q"]


def test_a_listing_is_filtered_by_price_and_stock(admin: Client, visitor: Client) -> None:
    for name, price, stock in [("A", "1.00", 0), ("B", "5.00", 1), ("C", "9.99", 2)]:
        new_product(admin, name=name, price=price, stock=stock)

    assert names(visitor, "sort=name&min_price=5") == ["B", "C"]
    assert names(visitor, "sort=name&max_price=5.00") == ["A", "B"]
    assert names(visitor, "sort=name&min_price=1.01&max_price=9.98") == ["B"]
    assert names(visitor, "sort=name&in_stock=true") == ["B", "C"]
    assert names(visitor, "sort=name&in_stock=false") == ["A"]


def test_a_listing_is_sorted_newest_first_or_as_asked(admin: Client, visitor: Client) -> None:
    for name, price in [("Beta", "2"), ("Alpha", "10"), ("Gamma", "1")]:
        new_product(admin, name=name, price=price)

    assert names(visitor, "") == names(visitor, "sort=-created_at") == ["Gamma", "Alpha", "Beta"]
    assert names(visitor, "sort=created_at") == ["Beta", "Alpha", "Gamma"]
    assert names(visitor, "sort=price") == ["Gamma", "Beta", "Alpha"]
    assert names(visitor, "sort=-price") == ["Alpha", "Beta", "Gamma"]
    assert names(visitor, "sort=name") == ["Alpha", "Beta", "Gamma"]


@pytest.mark.parametrize(
    "query", ["sort=stock", "min_price=x", "min_price=1.001", "in_stock=perhaps", "colour=red", "limit=0", "limit=101"]
)
def test_a_parameter_that_makes_no_sense_is_422(visitor: Client, query: str) -> None:
    assert errors(visitor.get(f"/products?{query}")) == [query.partition("=")[0]]


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "price", "-price", "name"])
def test_pages_are_stable_while_products_come_and_go(admin: Client, visitor: Client, sort: str) -> None:
    """Equal prices and names included: the id decides."""
    there = [new_product(admin, name=f"P{n % 2}", price=n % 3)["id"] for n in range(7)]

    seen: list[str] = []
    url = f"/api/v1/products?limit=2&sort={sort}&max_price=100"
    while url:
        page = visitor.get(url)
        seen += [product["id"] for product in page.json["items"]]
        url = page.headers.get("Link", "").partition(">")[0].removeprefix("<")
        assert bool(url) == bool(page.json["next_cursor"])
        new_product(admin, name="P0", price=0)
        admin.post(f"/products/{seen[0]}/deactivate")
    assert len(seen) == len(set(seen))
    assert set(there) <= set(seen)


def test_a_cursor_of_another_sort_or_a_forged_one_is_422(admin: Client, visitor: Client) -> None:
    for _ in range(2):
        new_product(admin)
    cursor = visitor.get("/products?limit=1").json["next_cursor"]
    assert errors(visitor.get(f"/products?limit=1&sort=price&cursor={cursor}")) == ["cursor"]
    assert errors(visitor.get(f"/products?limit=1&cursor=x{cursor}")) == ["cursor"]


def test_crossing_the_threshold_is_announced_once(admin: Client, queue: InlineQueue) -> None:
    """Going from above the threshold to it or below raises StockLow once."""
    product = new_product(admin, name="Laptop HP", stock=7, sku="HP-15")
    for _ in range(4):
        admin.post(f"/products/{product['id']}/stock/remove", {"quantity": 1})
    queue.drain()

    low = [event for key, event in queue.announced if key == "products.stock_low.v1"]
    assert [event["data"] for event in low] == [
        {"product_id": product["id"], "name": "Laptop HP", "sku": "HP-15", "stock": 5, "threshold": 5}
    ]
    assert low[0]["subject"] == product["id"]
