"""As `bench.bare`, for a product."""

from __future__ import annotations

from typing import Any

from flask import jsonify
from psycopg.rows import dict_row

from bench.bare import app, reads

__all__ = ["app"]
_COLUMNS = (
    "id, sku, name, description, price::text, stock, low_stock_threshold, is_active, created_at, updated_at, version"
)


@app.get("/products/<uuid:product_id>")
def get_product(product_id: Any) -> Any:
    """One row, raw psycopg, Flask's own JSON."""
    with reads().connection() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        return jsonify(cursor.execute(f"select {_COLUMNS} from products where id = %s", (product_id,)).fetchone())
