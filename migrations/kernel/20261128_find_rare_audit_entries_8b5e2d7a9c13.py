"""Find the few entries of a rare action in the audit log, and those of what was refused

The release before this one still runs while it is applied. Each partition gets its indexes on its own, because
PostgreSQL builds none concurrently on a partitioned table.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import context, op

revision = "8b5e2d7a9c13"
down_revision = "3d9a6c1f4e25"
branch_labels = None
depends_on = None

_TABLE = "audit_log"
_INDEXES = (("action", ""), ("outcome", " WHERE outcome <> 'succeeded'"))


def upgrade() -> None:
    if context.is_offline_mode():  # which partitions there will be is not known: commands wait meanwhile
        for column, where in _INDEXES:
            op.execute(f"CREATE INDEX {_name(_TABLE, column)} ON {_TABLE} ({column}, at, id){where}")
        return
    with op.get_context().autocommit_block():  # commands go on being processed meanwhile
        for column, where in _INDEXES:
            parent, definition = _name(_TABLE, column), f"({column}, at, id){where}"
            op.execute(f"DROP INDEX IF EXISTS {parent}")  # of a run that did not finish
            op.execute(f"CREATE INDEX {parent} ON ONLY {_TABLE} {definition}")
            for partition in _partitions():
                child = _name(partition, column)
                op.execute(f"DROP INDEX IF EXISTS {child}")
                op.execute(f"CREATE INDEX CONCURRENTLY {child} ON {partition} {definition}")
                op.execute(f"ALTER INDEX {parent} ATTACH PARTITION {child}")


def downgrade() -> None:
    for column, _ in _INDEXES:
        op.execute(f"DROP INDEX {_name(_TABLE, column)}")


def _name(table: str, column: str) -> str:
    return f"{table}_{column}_at_id_idx"


def _partitions() -> Sequence[str]:
    found = sa.text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST(:table AS regclass)")
    return op.get_bind().scalars(found, {"table": _TABLE}).all()
