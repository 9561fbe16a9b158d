"""Operations and the audit log are partitioned by time

The release before this one still runs while it is applied. It locks both tables for a moment, after a scan of each that
locks nothing.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "b7d2f40c9e61"
down_revision = "0c7f3e21d8b6"
branch_labels = None
depends_on = None

_FUNCTIONS = Path(__file__).with_suffix(".sql")
_DAYS = {"operations": 7, "audit_log": 30}
_GROWS = (
    "CREATE TRIGGER audit_log_only_grows BEFORE UPDATE OR DELETE ON {}"
    " FOR EACH ROW EXECUTE FUNCTION audit_log_only_grows()"
)
_IS_NOT_TRUNCATED = (
    "CREATE TRIGGER audit_log_is_not_truncated BEFORE TRUNCATE ON {}"
    " FOR EACH STATEMENT EXECUTE FUNCTION audit_log_only_grows()"
)


def upgrade() -> None:
    with op.get_context().autocommit_block():  # commands go on being processed meanwhile
        op.execute(_FUNCTIONS.read_text(encoding="utf-8"))
        for table, days in _DAYS.items():
            op.execute(f"SELECT partition_prepare('{table}', {days})")
            op.execute(f"SELECT partition_validate('{table}')")
    op.execute("LOCK TABLE operations, audit_log IN ACCESS EXCLUSIVE MODE")
    op.execute("DROP TRIGGER audit_log_only_grows ON audit_log")
    op.execute("DROP TRIGGER audit_log_is_not_truncated ON audit_log")
    for table, days in _DAYS.items():
        op.execute(f"SELECT partition_by_time('{table}', {days})")
    op.execute(_GROWS.format("audit_log"))  # PostgreSQL repeats it on each partition
    for table in ("audit_log", "audit_log_oldest", "audit_log_default"):
        op.execute(_IS_NOT_TRUNCATED.format(table))
    _drop_functions()


def downgrade() -> None:
    op.execute(_FUNCTIONS.read_text(encoding="utf-8"))
    for table in _DAYS:
        op.execute(f"SELECT partition_undo('{table}')")
    op.execute(_GROWS.format("audit_log"))
    op.execute(_IS_NOT_TRUNCATED.format("audit_log"))
    _drop_functions()


def _drop_functions() -> None:
    for function in (
        "partition_end(integer)",
        "partition_prepare(text, integer)",
        "partition_validate(text)",
        "partition_by_time(text, integer)",
        "partition_undo(text)",
    ):
        op.execute(f"DROP FUNCTION {function}")
