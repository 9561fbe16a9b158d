"""Files of products, row by row."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from io import StringIO
from typing import Any, cast

import marshmallow as ma
import msgspec
from uuid_utils.compat import uuid7

from backend.contexts.products.application.commands import CreateProduct
from backend.contexts.products.application.ports import ImportedRow
from backend.contexts.products.application.queries import ProductView
from backend.contexts.products.infrastructure.schemas import NewProduct
from backend.kernel.http.schemas import ExactDecimal
from backend.kernel.http.spreadsheets import unguarded
from backend.kernel.messages.refusals import FieldError, Invalid

Row = tuple[int, Any]
"""The line at which a row begins, counted from 1, and its fields, or what is wrong with it."""

_JSON: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=Decimal)
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
_SCHEMA = NewProduct()
_NUMBERS = {name for name, field in _SCHEMA.fields.items() if isinstance(field, ma.fields.Integer | ExactDecimal)}
_IGNORED = {*ProductView.__dataclass_fields__} - {*_SCHEMA.fields}
"""What an export has beside the fields of a new product."""


class Unreadable(Exception):
    """The file as a whole is not what its media type promises."""


def csv_rows(content: bytes) -> Iterator[Row]:
    """The rows of a CSV file (RFC 4180) whose first line names the fields. An empty cell is an absent field.

    Rows without any are skipped, and so are the other columns of an export.

    Raises:
        Unreadable: it is not UTF-8, has no header, or one with unknown, missing or repeated fields.
    """
    reader = csv.reader(StringIO(_text(content), newline=""), strict=True)
    try:
        header = _without_empty_end([name.strip() for name in next(reader, [])])
        _check(header)
        begins = reader.line_num + 1
        for cells in reader:
            if any(cells):
                yield begins, _fields(header, cells)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise Unreadable(f"Line {reader.line_num} is not CSV: {error}.") from None


def json_rows(content: bytes) -> Iterator[Row]:
    """The rows of a file with one JSON object per line. Empty lines are skipped.

    Raises:
        Unreadable: it is not UTF-8.
    """
    for line, text in enumerate(_text(content).split("\n"), start=1):
        if text.strip():
            try:
                yield line, _JSON.decode(text)
            except (msgspec.DecodeError, RecursionError, InvalidOperation):
                yield line, Invalid("The line is not well-formed JSON.")


READERS: dict[str, Callable[[bytes], Iterator[Row]]] = {"text/csv": csv_rows, "application/x-ndjson": json_rows}
"""By media type."""


def imported(row: Row) -> ImportedRow:
    """The command of a row, under the same rules as the body of a new product."""
    line, fields = row
    if isinstance(fields, Invalid):
        return ImportedRow(line, fields)
    try:
        return ImportedRow(line, CreateProduct(uuid7(), **_SCHEMA.load(fields)))
    except ma.ValidationError as error:
        messages = cast("dict[str, list[str]]", error.messages)  # one field has no fields of its own
        reasons = [(name, text) for name, texts in messages.items() for text in texts]
        errors = [FieldError("" if name == "_schema" else name, text) for name, text in reasons]
        return ImportedRow(line, Invalid("Some values are invalid.", errors))


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("The file is not UTF-8.") from None


def _check(header: list[str]) -> None:
    unknown = set(header) - set(_SCHEMA.fields) - _IGNORED
    missing = sorted({name for name, field in _SCHEMA.fields.items() if field.required} - set(header))
    if missing:
        raise Unreadable(f"The header must name {', '.join(missing)}.")
    if unknown or len(set(header)) < len(header):
        raise Unreadable(f"The header must name each field once, from {', '.join(_SCHEMA.fields)}.")


def _fields(header: list[str], cells: list[str]) -> dict[str, Any] | Invalid:
    if len(_without_empty_end(cells)) > len(header):
        return Invalid("The line has more cells than the header.")
    given = {name: cell for name, cell in zip(header, cells, strict=False) if cell and name not in _IGNORED}
    return {name: _value(name, unguarded(cell)) for name, cell in given.items()}


def _without_empty_end(cells: list[str]) -> list[str]:
    """Spreadsheets write commas for columns that are empty."""
    while cells and not cells[-1]:
        cells = cells[:-1]
    return cells


def _value(name: str, cell: str) -> str | int | Decimal:
    """CSV has no numbers, only text: what looks like one is read as in JSON, and refused in the same words."""
    if name not in _NUMBERS or not _NUMBER.fullmatch(cell):
        return cell
    return Decimal(cell) if "." in cell else int(cell)
