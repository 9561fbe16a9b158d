"""What the fields of a product may be."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contexts.products.domain import rules
from backend.kernel.messages.refusals import Invalid


@pytest.mark.parametrize(
    ("given_price", "accepted"),
    [
        ("0", "0.00"),
        ("899.99", "899.99"),
        ("899.9", "899.90"),
        (10, "10.00"),
        (Decimal("899.99"), "899.99"),
        (Decimal("1E+2"), "100.00"),
        (Decimal("-0.0"), "0.00"),
        ("9999999999.99", "9999999999.99"),
    ],
)
def test_a_price_is_exact_and_has_two_places(given_price: str | int | Decimal, accepted: str) -> None:
    assert str(rules.price(given_price)) == accepted


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            "",
            " 1",
            "1 ",
            "-1",
            "-0",
            "+1",
            "1.",
            ".5",
            "1,5",
            "1.000",
            "0.001",
            "1e2",
            "NaN",
            "Infinity",
            "१",
            "1" * 11,
        ),
        *(-1, 10**10, 10**400),
        *(Decimal(digits) for digits in ("0.001", "1.000", "-0.01", "1E+400", "1E-400")),
    ],
)
def test_what_is_no_price_of_at_most_two_places_is_refused(wrong: str | int | Decimal) -> None:
    with pytest.raises(Invalid):
        rules.price(wrong)


@given(st.decimals(0, Decimal("9999999999.99"), places=2))
def test_every_price_comes_back_as_it_went_in(amount: Decimal) -> None:
    assert rules.price(str(amount)) == amount
    assert str(rules.price(str(rules.price(str(amount))))) == f"{amount:.2f}"


@pytest.mark.parametrize("count", [-1, 2**31, 10**30])
def test_a_stock_is_0_to_2147483647(count: int) -> None:
    assert rules.stock(0) == 0
    assert rules.stock(2**31 - 1) == 2**31 - 1
    with pytest.raises(Invalid):
        rules.stock(count)


def test_a_quantity_is_at_least_1() -> None:
    assert rules.quantity(1) == 1
    with pytest.raises(Invalid):
        rules.quantity(0)


def test_a_name_is_trimmed_composed_and_not_empty() -> None:
    assert rules.name("  Cafe\u0301 ") == "Café"
    blank = ("\u200b\u2060", "\u3164", "\u2800", "\ufeff\u00ad", "\U00013441")
    for wrong in ("", "   ", "x" * 201, "bell\a", "line\nbreak", *blank):
        with pytest.raises(Invalid):
            rules.name(wrong)


def test_a_description_may_have_several_lines() -> None:
    assert rules.description("15 inches\n\t8 GB\r\n") == "15 inches\n\t8 GB"
    for wrong in ("x" * 5001, "bell\a"):
        with pytest.raises(Invalid):
            rules.description(wrong)
