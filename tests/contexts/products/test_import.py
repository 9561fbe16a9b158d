"""Many products at once: what is uploaded becomes products, once, and every row that does not is reported."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from io import BytesIO, StringIO
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from backend.contexts.products.application.commands import CreateProduct, ImportProducts
from backend.contexts.products.application.handlers import import_products
from backend.contexts.products.application.ports import ImportedRow
from backend.contexts.products.infrastructure import transfer
from backend.contexts.products.infrastructure.rows import Unreadable, csv_rows, json_rows
from backend.contexts.products.infrastructure.tables import imports
from backend.kernel.delivery.envelope import Envelope, Headers
from backend.kernel.delivery.outbox import outbox
from backend.kernel.http.spreadsheets import guarded, unguarded
from backend.kernel.messages.refusals import Invalid
from backend.program import Process
from tests.client import Answer, Client
from tests.contexts.products.conftest import new_product
from tests.contexts.products.fakes import fake_ports
from tests.inline import InlineQueue

CSV = "text/csv"
NDJSON = "application/x-ndjson"
HEADER = "name,price,stock,sku\n"


def upload(client: Client, content: str | bytes, media_type: str = CSV, **headers: str) -> Answer:
    """Not waited for, unless it is said."""
    return client.post("/products/import", data=content, Content_Type=media_type, **{"Prefer": None, **headers})


def finished(client: Client, queue: InlineQueue, answer: Answer) -> dict[str, Any]:
    """The operation, when it has come to its end."""
    assert answer.status_code == 202, answer.json
    queue.drain()
    operation: dict[str, Any] = client.get(answer.headers["Location"]).json
    return operation


def shown(client: Client, *fields: str) -> list[list[Any]]:
    return [[item[name] for name in fields] for item in client.get("/products?limit=100&sort=name").json["items"]]


def stocks(client: Client) -> dict[str, int]:
    items = client.get("/products?limit=100&sort=name").json["items"]
    return {item["name"]: item["stock"] for item in items}


def test_a_csv_file_becomes_products(admin: Client, queue: InlineQueue) -> None:
    content = (
        "\ufeffname,description,price,stock,low_stock_threshold\r\n"
        'Laptop,"15"" wide,\nnew",899.99,10,\r\n'
        "Mouse,,9.5,0,2\r\n"
    )
    operation = finished(admin, queue, upload(admin, content))

    assert operation["status"] == "succeeded"
    assert operation["progress"] == {"done": 2, "total": 2, "failed": 0, "failures": []}
    laptop, mouse = admin.get("/products?sort=name").json["items"]
    assert (laptop["name"], laptop["description"], laptop["price"], laptop["stock"], laptop["low_stock_threshold"]) == (
        "Laptop",
        '15" wide,\nnew',
        "899.99",
        10,
        5,
    )
    assert (mouse["description"], mouse["price"], mouse["low_stock_threshold"]) == (None, "9.50", 2)


def test_a_file_with_a_json_object_on_each_line_becomes_products(admin: Client, queue: InlineQueue) -> None:
    lines = [{"name": "Laptop", "price": 899.99, "stock": 1}, {"name": "Mouse", "price": "9.50", "stock": 2}]
    content = "\n\n".join(json.dumps(line) for line in lines)
    operation = finished(admin, queue, upload(admin, content, NDJSON))

    assert operation["progress"]["failed"] == 0
    assert stocks(admin) == {"Laptop": 1, "Mouse": 2}


def test_rows_that_fail_are_reported_with_line_and_problem_and_the_rest_are_in(
    admin: Client, queue: InlineQueue
) -> None:
    new_product(admin, name="Taken", sku="S-1")
    content = HEADER + "A,1,1,S-1\nB,1.999,-3,\n\nC,1,1,S-2\nD,1,1,S-2\nE,1,1,S-3,more\nF,1,x,\n"
    operation = finished(admin, queue, upload(admin, content))

    progress = operation["progress"]
    assert operation["status"] == "succeeded"
    assert (progress["done"], progress["total"], progress["failed"]) == (6, 6, 5)
    assert [(failure["line"], failure["problem"]["code"]) for failure in progress["failures"]] == [
        (2, "sku_taken"),
        (3, "validation_failed"),
        (6, "sku_taken"),
        (7, "validation_failed"),
        (8, "validation_failed"),
    ]
    assert [error["pointer"] for error in progress["failures"][1]["problem"]["errors"]] == ["/price", "/stock"]
    assert stocks(admin) == {"C": 1, "Taken": 10}


@pytest.mark.parametrize(
    ("field", "cell"),
    [
        *(("stock", cell) for cell in ("-1", "2147483648", "9" * 30, "1.5", "many")),
        *(("price", cell) for cell in ("-1", "1.999", "nine")),
        ("low_stock_threshold", "-2"),
    ],
)
def test_a_cell_is_refused_in_the_words_of_json(admin: Client, queue: InlineQueue, field: str, cell: str) -> None:
    fields = {"name": "A", "price": "1", "stock": "1", field: cell}
    content = f"{','.join(fields)}\n{','.join(fields.values())}"
    failure = finished(admin, queue, upload(admin, content))["progress"]["failures"][0]
    as_json = {"name": "A", "price": 1, "stock": 1, field: cell if cell.isalpha() else json.loads(cell)}
    assert failure["problem"]["errors"] == admin.post("/products", as_json).json["errors"]


def test_a_row_of_json_that_is_no_product_is_reported(admin: Client, queue: InlineQueue) -> None:
    lines = [
        "{",
        "[]",
        "null",
        '{"name": "a\\u0000b", "price": 1, "stock": 1}',
        '{"name": "x", "price": 1, "stock": 1, "a\\u0000b": 1}',
        '{"name": "x", "price": 1.00000000000000000001, "stock": 1}',
        '{"name": "Mouse", "price": 1, "stock": 1}',
    ]
    operation = finished(admin, queue, upload(admin, "\n".join(lines), NDJSON))

    assert [failure["line"] for failure in operation["progress"]["failures"]] == [1, 2, 3, 4, 5, 6]
    assert stocks(admin) == {"Mouse": 1}


def test_an_import_of_many_steps_does_each_row_once_whatever_is_delivered_again(
    admin: Client, process: Process, queue: InlineQueue
) -> None:
    content = HEADER + "".join(f"P{n},1,1,S-{n % 120}\n" for n in range(130))
    answer = upload(admin, content)
    process.receiver.receive(queue.sent[0])  # beside the worker, which has the same message
    operation = finished(admin, queue, answer)
    for envelope in list(queue.sent):
        process.receiver.receive(envelope)

    assert (operation["status"], operation["progress"]["done"], operation["progress"]["failed"]) == (
        "succeeded",
        130,
        10,
    )
    names, url = [], "/api/v1/products?limit=100"
    while url:
        page = admin.get(url)
        names += [item["name"] for item in page.json["items"]]
        url = page.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert sorted(names) == sorted(f"P{n}" for n in range(120))


def test_the_operation_is_pending_and_tells_its_progress_between_two_steps(
    admin: Client, process: Process, queue: InlineQueue
) -> None:
    queue.down = True  # the command waits in the outbox, and so does its continuation
    answer = upload(admin, HEADER + "".join(f"P{n},1,1,\n" for n in range(60)))
    assert answer.status_code == 202
    waiting = admin.get(answer.headers["Location"]).json
    assert (waiting["status"], waiting["progress"]["done"], waiting["progress"]["total"]) == ("pending", 0, 60)

    process.receiver.receive(spooled(process))
    half = admin.get(answer.headers["Location"]).json
    assert (half["status"], half["progress"]["done"]) == ("pending", 50)

    process.receiver.receive(spooled(process))
    whole = admin.get(answer.headers["Location"]).json
    assert (whole["status"], whole["progress"]["done"]) == ("succeeded", 60)


def test_an_import_is_one_entry_of_the_audit_log_however_many_its_steps(
    admin: Client, process: Process, queue: InlineQueue
) -> None:
    finished(admin, queue, upload(admin, HEADER + "".join(f"P{n},1,1,\n" for n in range(120))))
    with process.bus.database.transaction() as connection:
        names = connection.scalars(sa.text("select action from audit_log")).all()
    assert sorted(names) == ["products.import_products", "products.stage_import"]


def spooled(process: Process) -> Envelope:
    """The import as it waits in the outbox."""
    with process.bus.database.transaction() as connection:
        row = connection.execute(outbox.select().where(outbox.c.name == "products.import_products")).first()
    assert row is not None
    return Envelope(row.id, row.name, row.queue, row.body, Headers.parse(row.headers))


def test_whoever_waits_is_answered_with_the_finished_operation(admin: Client) -> None:
    answer = upload(admin, HEADER + "A,1,1,\n", Prefer="wait=10")
    assert (answer.json["status"], answer.json["progress"]["done"]) == ("succeeded", 1)
    assert answer.headers["Preference-Applied"] == "wait=10"


def test_one_idempotency_key_imports_once(admin: Client, queue: InlineQueue) -> None:
    answers = [upload(admin, HEADER + "A,1,1,\n", Idempotency_Key="batch-1") for _ in range(2)]
    queue.drain()
    assert answers[0].json["id"] == answers[1].json["id"]
    assert stocks(admin) == {"A": 1}

    other = upload(admin, HEADER + "B,1,1,\n", Prefer="wait=10", Idempotency_Key="batch-1")
    queue.drain()
    failed = admin.get(other.headers["Location"]).json
    assert (failed["status"], failed["error"]["code"]) == ("failed", "idempotency_key_reused")
    assert stocks(admin) == {"A": 1}


def test_an_empty_file_is_an_import_of_nothing(admin: Client, queue: InlineQueue) -> None:
    assert finished(admin, queue, upload(admin, HEADER))["progress"]["total"] == 0


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"x" * (5 * 1024 * 1024 + 1), CSV, 413),
        (HEADER.encode() + b"A,1,1,\n" * 10_001, CSV, 413),
        (b"{}\n" * 10_001, NDJSON, 413),
        (b"\xff", CSV, 400),
        (b"", CSV, 400),
        (b"name,price\n", CSV, 400),
        (b"name,price,stock,colour\n", CSV, 400),
        (b"name,price,stock,stock\n", CSV, 400),
        (HEADER.encode() + b'"A,1,1,\n', CSV, 400),
    ],
)
def test_what_is_no_file_of_at_most_10000_rows_and_5_mib_is_refused(
    admin: Client, content: bytes, media_type: str, status: int
) -> None:
    answer = upload(admin, content, media_type)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


def test_a_file_of_unknown_length_is_not_cut_short(admin: Client) -> None:
    """One row more than 5 MiB hold: the others alone would be an import that nobody asked for."""
    rows = HEADER.encode() + b"A,1,1,\n".ljust(1024, b"\n") * (5 * 1024)
    streamed = {"wsgi.input": BytesIO(rows), "wsgi.input_terminated": True}
    answer = admin.open("POST", "/api/v1/products/import", {"Content-Type": CSV}, streamed)
    assert answer.status_code == 413, answer.json


def test_only_admins_import_and_export(visitor: Client) -> None:
    assert upload(visitor, HEADER).status_code == 401
    assert visitor.get("/products/export").status_code == 401


def ordered(name: str) -> CreateProduct:
    return CreateProduct(uuid7(), 0, name, Decimal(1), sku="S-1")


def test_a_step_offers_what_is_right_and_reports_what_is_not() -> None:
    """Without a database: the first row's SKU is taken by the time of the third."""
    ports, import_id = fake_ports(), UUID(int=7)
    orders: list[CreateProduct | Invalid] = [ordered("A"), Invalid(), ordered("B")]
    ports.imports.rows[import_id] = [ImportedRow(line, order) for line, order in enumerate(orders, start=2)]

    progress = import_products(ImportProducts(import_id), ports)

    assert (progress.done, progress.total, progress.failed) == (3, 3, 2)
    assert ports.imports.refused == [(3, "validation_failed"), (4, "sku_taken")]


def test_lines_are_counted_where_rows_begin() -> None:
    rows = csv_rows(b'name,price,stock\n"two\nlines",1,1\n\nB,1,1')
    assert [line for line, _ in rows] == [2, 5]
    assert [line for line, _ in json_rows(b"\n{}\n\n{}")] == [2, 4]


def test_a_file_that_ends_inside_quotes_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        list(csv_rows(b'name,price,stock\n"A,1,1'))


def test_an_export_holds_every_product_and_no_formula(admin: Client) -> None:
    """A cell that begins with = + - @ tab or CR is prefixed by an apostrophe."""
    dangerous = ["=1+1", "+1", "-1", "@SUM(A1)"]
    for name in [*dangerous, 'A "quoted", name']:
        new_product(admin, name=name, description=name)
    hidden = new_product(admin, name="Hidden")
    admin.post(f"/products/{hidden['id']}/deactivate")

    answer = admin.get("/products/export")
    assert answer.content_type == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(StringIO(answer.text, newline="")))
    harmless = [f"'{name}" for name in reversed(dangerous)]
    assert [row["name"] for row in rows] == ["Hidden", 'A "quoted", name', *harmless]
    assert rows[0]["is_active"] == "false"
    assert rows[0]["price"] == "899.99"
    assert all(row["description"] == row["name"] for row in rows[1:])


@pytest.mark.parametrize("separator", [";", "\t", "\n", "\r\n"])
@pytest.mark.parametrize(
    "formula",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20A1", " =1+1", '"=1+1', "'\"=1+1"],
)
def test_a_cell_is_no_formula_whatever_separates_cells(admin: Client, separator: str, formula: str) -> None:
    """Spreadsheets split at what the reader's country or the reader says."""
    new_product(admin, description=f"x{separator}{formula}")

    [row] = csv.DictReader(StringIO(admin.get("/products/export").text, newline=""))

    assert row["description"] == f"'x{separator}'{formula}"
    assert not [cell for cell in re.split(r"[;\t\r\n]", row["description"]) if cell.startswith(formula)]


@pytest.mark.parametrize("harmless", ["a;b", "x - y; z", "a\nb", "1; 2", "it's"])
def test_a_cell_that_holds_no_formula_is_exported_as_it_is(admin: Client, harmless: str) -> None:
    new_product(admin, description=harmless)
    [row] = csv.DictReader(StringIO(admin.get("/products/export").text, newline=""))
    assert row["description"] == harmless


@given(st.text(alphabet="a'\"=+ ;\t\r\n\uff1d", max_size=8))
def test_a_text_is_the_same_after_it_was_a_cell(text: str) -> None:
    assert unguarded(guarded(text)) == text


def test_an_export_that_cannot_begin_is_503(admin: Client, process: Process) -> None:
    """Once an answer has begun with 200, nothing tells its reader that it is cut."""
    process.bus.database.close()
    for path in ("/products/export", "/audit/export"):
        answer = admin.get(path)
        assert (answer.status_code, bool(answer.headers["Retry-After"])) == (503, True)


@contextmanager
def _without_products(process: Process) -> Iterator[None]:
    """While inside, no product can be read."""
    with process.bus.database.transaction() as connection:
        connection.execute(sa.text("alter table products rename to products_elsewhere"))
    try:
        yield
    finally:
        with process.bus.database.transaction() as connection:
            connection.execute(sa.text("alter table products_elsewhere rename to products"))


def test_an_export_that_is_cut_says_so(admin: Client, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_PAGE", 1)
    for name in ("A", "B", "C"):
        new_product(admin, name=name)
    answer = admin.get("/products/export")
    with _without_products(process):
        assert answer.text.splitlines()[-1].startswith("INCOMPLETE")
    assert len(admin.get("/products/export").text.splitlines()) == 4


def test_an_export_is_imported_as_it_is(admin: Client, queue: InlineQueue, process: Process) -> None:
    new_product(admin, name="=1+1", description="a;=2", price="1.50", stock=3, sku="-1", low_stock_threshold=2)
    new_product(admin, name="'=1+1", description="'tis", stock=0)
    fields = ("name", "description", "price", "stock", "sku", "low_stock_threshold")
    before = shown(admin, *fields)
    export = admin.get("/products/export").text
    with process.bus.database.transaction() as connection:
        connection.execute(sa.text("delete from stock_movements"))
        connection.execute(sa.text("delete from products"))

    assert finished(admin, queue, upload(admin, export))["progress"]["failures"] == []

    assert shown(admin, *fields) == before


def test_an_export_has_times_as_json_has_them(admin: Client) -> None:
    created_at = new_product(admin)["created_at"]
    [row] = csv.DictReader(StringIO(admin.get("/products/export").text, newline=""))
    assert row["created_at"] == created_at


def test_columns_and_rows_without_a_value_are_skipped() -> None:
    rows = list(csv_rows(b"name,price,stock,,\nA,1,1,,\n,,,,\nB,1,1\n"))
    assert rows == [(2, {"name": "A", "price": 1, "stock": 1}), (4, {"name": "B", "price": 1, "stock": 1})]


def test_an_upload_is_kept_as_long_as_its_operation(admin: Client, process: Process, queue: InlineQueue) -> None:
    old, new = (upload(admin, HEADER + "A,1,1,\nB,x,1,\n") for _ in range(2))
    queue.drain()
    with process.bus.database.transaction() as connection:
        first = sa.select(sa.func.min(imports.c.created_at)).scalar_subquery()
        month = sa.func.make_interval(0, 0, 0, 31)
        connection.execute(imports.update().where(imports.c.created_at == first).values(created_at=first - month))

    process.purge()

    assert "progress" not in admin.get(old.headers["Location"]).json
    assert "progress" in admin.get(new.headers["Location"]).json
