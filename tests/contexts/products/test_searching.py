"""What a search finds, and in which order, whatever the locale of the database."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client import Client
from tests.contexts.products.conftest import new_product

_SEARCHES = {
    "IRMAK Çay Seti": ["irmak", "IRMAK", "Irmak çay", "ÇAY"],
    "İzmir \u0131l\u0131k": ["izmir", "IZMIR", "İZMİR", "ILIK", "ilik"],
    "Straße": ["STRASSE", "straße", "strasse", "STRAẞE"],
    "ΟΔΟΣ": ["οδος", "οδοσ", "ΟΔΟΣ"],
    "Café ﬁne \uff26\uff35\uff2c\uff2c\uff11": [
        "CAFÉ",
        "cafe\u0301",
        "fine",
        "full1",
        "\uff46\uff55\uff4c\uff4c\uff11",
    ],
    "हिन्दी किताब": ["हिन्दी"],
    "HP/Dell e-mail 3.5 l'eau": ["hp", "DELL", "mail", "3.5", "EAU"],
}


@pytest.fixture
def clean_database(foreign_database: str) -> str:
    return foreign_database


def test_a_search_ignores_case_and_spelling(admin: Client) -> None:
    for name in _SEARCHES:
        new_product(admin, name=name)
    for name, searches in _SEARCHES.items():
        assert {q: _names(admin, q=q) for q in searches} == {q: [name] for q in searches}


def test_whatever_is_searched_for_is_answered(admin: Client) -> None:
    new_product(admin, name="Irmak", description="ﷺ" * 5000)
    for q in ("", "'", "\\", "!!!", "a & b", "':*", "i\u0307", "x" * 5000, "\u3000"):
        assert admin.get("/products", {"q": q}).status_code == 200, q


@pytest.mark.parametrize("q", ["", " ", "\u3000"])
def test_an_empty_search_lists_everything(admin: Client, q: str) -> None:
    new_product(admin, name="Irmak")
    assert _names(admin, q=q) == ["Irmak"]
    assert _names(admin, q="!!!") == []


def test_a_changed_name_is_found_and_sorted(admin: Client) -> None:
    product = new_product(admin, name="Irmak", description="A river")
    new_product(admin, name="Göl")
    answer = admin.patch(f"/products/{product['id']}", {"name": "Çay"})

    assert answer.status_code == 200
    assert _names(admin, q="irmak") == []
    assert _names(admin, q="çay river") == ["Çay"]
    assert _names(admin, sort="name") == ["Çay", "Göl"]


def test_the_order_by_name_ignores_case_and_accents(admin: Client) -> None:
    names = ["apple", "Banana", "cherry", "éclair", "École", "fig", "\u0131rgat", "Irmak", "İstanbul", "Zebra"]
    for name in reversed(names):
        new_product(admin, name=name)

    in_order, url = [], "/products?sort=name&limit=3"
    while url:
        page = admin.get(url)
        in_order += [product["name"] for product in page.json["items"]]
        url = page.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert in_order == names


def _names(client: Client, **query: Any) -> list[str]:
    return [product["name"] for product in client.get("/products", query).json["items"]]
