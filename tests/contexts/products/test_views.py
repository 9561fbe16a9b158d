"""What the OpenAPI document says of an answer, and what the answer is, are written in two places: they agree."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
import pytest

from backend.contexts.products.application.queries import MovementView, ProductView
from backend.contexts.products.infrastructure.schemas import MovementSchema, ProductSchema


@pytest.mark.parametrize(("view", "schema"), [(ProductView, ProductSchema), (MovementView, MovementSchema)])
def test_a_view_has_the_fields_of_its_schema(view: Any, schema: type[ma.Schema]) -> None:
    assert set(view.__dataclass_fields__) == set(schema().fields)
