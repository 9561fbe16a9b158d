"""Rules for the fields of a product. Each rule returns the normalized value."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

from backend.kernel.messages.refusals import FieldError, Invalid
from backend.kernel.messages.values import folded, plain_text

LARGEST_COUNT = 2**31 - 1
"""The largest stock, threshold or quantity: PostgreSQL's integer."""
DEFAULT_LOW_STOCK_THRESHOLD = 5
_CENT = Decimal("0.01")
HIGHEST_PRICE = Decimal("9999999999.99")
_PRICE = re.compile(r"[0-9]{1,10}(\.[0-9]{1,2})?")
_LONGEST_NAME = 200
_LONGEST_DESCRIPTION = 5000
_LONGEST_SKU = 64
_LONGEST_REASON = 200
_LONGEST_KEY = 200
_LONGEST_WORD = 64


def name(text: str, field: str = "name") -> str:
    """A name: trimmed, 1 to 200 characters, something of it visible, no control characters."""
    return plain_text(text, field, _LONGEST_NAME)


def description(text: str, field: str = "description") -> str:
    """A description: trimmed, at most 5000 characters; of control characters, tabs and line breaks only."""
    return plain_text(text, field, _LONGEST_DESCRIPTION, shortest=0, breaks=True)


def sku(text: str, field: str = "sku") -> str:
    """A stock keeping unit: trimmed, 1 to 64 characters, no control characters; compared as it is spelled."""
    return plain_text(text, field, _LONGEST_SKU)


def reason(text: str, field: str = "reason") -> str:
    """Why the stock moved: trimmed, at most 200 characters, no control characters."""
    return plain_text(text, field, _LONGEST_REASON, shortest=0)


def price(value: str | int | Decimal, field: str = "price") -> Decimal:
    """A price, exact: 0 to 9999999999.99, at most two places however it is written."""
    if isinstance(value, str) and not _PRICE.fullmatch(value):
        raise _invalid(field, "Must be a decimal such as 899.99, with at most two decimal places.")
    amount = Decimal(value)
    if not 0 <= amount <= HIGHEST_PRICE:
        raise _invalid(field, f"Must be 0 to {HIGHEST_PRICE}.")
    if _places(amount) > _places(_CENT):
        raise _invalid(field, "Must have at most two decimal places.")
    return abs(amount.quantize(_CENT))  # -0 is 0


def stock(count: int, field: str = "stock") -> int:
    """A stock: 0 to 2147483647."""
    return _count(count, field, 0)


def low_stock_threshold(count: int, field: str = "low_stock_threshold") -> int:
    """The stock that counts as low: 0 to 2147483647."""
    return _count(count, field, 0)


def quantity(count: int, field: str = "quantity") -> int:
    """A quantity to add or remove: 1 to 2147483647."""
    return _count(count, field, 1)


def sort_key(name: str) -> str:
    """What the order by name compares: no case, no accents, the first 200 characters. Folding may lengthen a name."""
    decomposed = unicodedata.normalize("NFKD", folded(name))
    return "".join(one for one in decomposed if unicodedata.category(one) != "Mn")[:_LONGEST_KEY]


def words(*texts: str | None) -> list[str]:
    """The words by which texts are found: letters, digits and their marks, without case, each cut at 64 characters."""
    text = " ".join(filter(None, texts))
    parted = "".join(one if unicodedata.category(one)[0] in "LMN" else " " for one in folded(text))
    return sorted({word[:_LONGEST_WORD] for word in parted.split()})


def search_keys(name: str, description: str | None) -> tuple[str, str]:
    """What the order by name compares, and the words of a product, separated by spaces."""
    return sort_key(name), " ".join(words(name, description))


def _count(count: int, field: str, smallest: int) -> int:
    if not smallest <= count <= LARGEST_COUNT:
        raise _invalid(field, f"Must be {smallest} to {LARGEST_COUNT}.")
    return count


def _places(amount: Decimal) -> int:
    return -int(amount.as_tuple().exponent)


def _invalid(field: str, detail: str) -> Invalid:
    return Invalid(errors=[FieldError(field, detail)])
