"""Find the few operations of a resource, of a rare command, and those that failed

The release before this one still runs while it is applied. Each partition gets its indexes on its own, because
PostgreSQL builds none concurrently on a partitioned table.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import context, op

revision = "4e8d1f6a7b30"
down_revision = "b7d2f40c9e61"
branch_labels = None
depends_on = None

_TABLE = "operations"
_INDEXES = (
    (("resource",), "cause IS NULL AND resource IS NOT NULL"),
    (("name", "finished_at", "id"), "cause IS NULL"),
    (("finished_at", "id"), "cause IS NULL AND status = 'failed'"),
)


def upgrade() -> None:
    if context.is_offline_mode():  # which partitions there will be is not known: commands wait meanwhile
        for columns, where in _INDEXES:
            op.execute(f"CREATE INDEX {_name(_TABLE, columns)} ON {_TABLE} ({', '.join(columns)}) WHERE {where}")
        return
    with op.get_context().autocommit_block():  # commands go on being processed meanwhile
        for columns, where in _INDEXES:
            parent, definition = _name(_TABLE, columns), f"({', '.join(columns)}) WHERE {where}"
            op.execute(f"DROP INDEX IF EXISTS {parent}")  # of a run that did not finish
            op.execute(f"CREATE INDEX {parent} ON ONLY {_TABLE} {definition}")
            for partition in _partitions():
                child = _name(partition, columns)
                op.execute(f"DROP INDEX IF EXISTS {child}")
                op.execute(f"CREATE INDEX CONCURRENTLY {child} ON {partition} {definition}")
                op.execute(f"ALTER INDEX {parent} ATTACH PARTITION {child}")


def downgrade() -> None:
    for columns, _ in _INDEXES:
        op.execute(f"DROP INDEX {_name(_TABLE, columns)}")


def _name(table: str, columns: Sequence[str]) -> str:
    return f"{table}_{'_'.join(columns)}_idx"


def _partitions() -> Sequence[str]:
    found = sa.text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST(:table AS regclass)")
    return op.get_bind().scalars(found, {"table": _TABLE}).all()
