"""initial

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TRIGGERS = Path(__file__).parents[1] / "sql" / "0001_audit_append_only.sql"


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("actor", sa.Uuid(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("about", sa.Uuid(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_log_pkey")),
    )
    op.create_index(op.f("audit_log_about_at_id_idx"), "audit_log", ["about", "at", "id"], unique=False)
    op.create_index(op.f("audit_log_actor_at_id_idx"), "audit_log", ["actor", "at", "id"], unique=False)
    op.create_index(op.f("audit_log_at_id_idx"), "audit_log", ["at", "id"], unique=False)
    op.create_index(op.f("audit_log_request_id_idx"), "audit_log", ["request_id"], unique=False)
    op.create_table(
        "challenges",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_digest", sa.LargeBinary(), nullable=False),
        sa.Column("tries", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("challenges_pkey")),
    )
    op.create_index(op.f("challenges_created_at_idx"), "challenges", ["created_at"], unique=False)
    op.create_index(op.f("challenges_user_id_created_at_idx"), "challenges", ["user_id", "created_at"], unique=False)
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("traceback", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column(
            "first_dead_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "last_dead_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint("status in ('open', 'replayed', 'discarded')", name=op.f("dead_letters_status_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("dead_letters_pkey")),
        sa.UniqueConstraint("message_id", name=op.f("dead_letters_message_id_key")),
    )
    op.create_index(op.f("dead_letters_last_dead_at_idx"), "dead_letters", ["last_dead_at"], unique=False)
    op.create_index(
        "dead_letters_open_idx",
        "dead_letters",
        ["task", "reason", "error"],
        unique=False,
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index(op.f("dead_letters_request_id_idx"), "dead_letters", ["request_id"], unique=False)
    op.create_table(
        "failures",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("times", postgresql.ARRAY(sa.DateTime(timezone=True)), nullable=False),
        sa.Column("blocks", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("failures_pkey")),
    )
    op.create_index(op.f("failures_updated_at_idx"), "failures", ["updated_at"], unique=False)
    op.create_table(
        "mails",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status in ('sending', 'sent', 'expired', 'undeliverable')", name=op.f("mails_status_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("mails_pkey")),
    )
    op.create_index(op.f("mails_created_at_idx"), "mails", ["created_at"], unique=False)
    op.create_table(
        "operations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("resource", sa.Text(), nullable=True),
        sa.Column("problem", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("actor", sa.Uuid(), nullable=True),
        sa.Column("cause", sa.Uuid(), nullable=True),
        sa.Column("spooled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="1", nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status in ('succeeded', 'failed')", name=op.f("operations_status_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("operations_pkey")),
    )
    op.create_index(op.f("operations_finished_at_idx"), "operations", ["finished_at"], unique=False)
    op.create_index(op.f("operations_request_id_idx"), "operations", ["request_id"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("aggregate", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("outbox_pkey")),
        sa.UniqueConstraint("position", name=op.f("outbox_position_key")),
    )
    op.create_index(op.f("outbox_aggregate_position_idx"), "outbox", ["aggregate", "position"], unique=False)
    op.create_index(op.f("outbox_created_at_idx"), "outbox", ["created_at"], unique=False)
    op.create_table(
        "product_imports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("product_imports_pkey")),
    )
    op.create_index(op.f("product_imports_created_at_idx"), "product_imports", ["created_at"], unique=False)
    op.create_table(
        "products",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("price", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("stock", sa.Integer(), nullable=False),
        sa.Column("low_stock_threshold", sa.Integer(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "words",
            postgresql.TSVECTOR(),
            sa.Computed(
                "to_tsvector('simple'::regconfig, regexp_replace(((name || ' '::text) || COALESCE(description, ''::text)), '[!-/:-@[-`{-~]+'::text, ' '::text, 'g'::text))",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.Column("in_stock", sa.Boolean(), sa.Computed("stock > 0", persisted=True), nullable=True),
        sa.CheckConstraint("price >= 0", name=op.f("products_price_check")),
        sa.CheckConstraint("stock >= 0", name=op.f("products_stock_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("products_pkey")),
        sa.UniqueConstraint("sku", name=op.f("products_sku_key")),
        postgresql_with={"autovacuum_vacuum_scale_factor": 0.02, "autovacuum_vacuum_insert_scale_factor": 0.02},
    )
    op.create_index(
        op.f("products_created_at_id_idx"),
        "products",
        ["created_at", "id"],
        unique=False,
        postgresql_include=["price", "is_active", "in_stock"],
    )
    op.create_index(
        op.f("products_name_id_idx"),
        "products",
        ["name", "id"],
        unique=False,
        postgresql_include=["price", "is_active", "in_stock"],
    )
    op.create_index(
        op.f("products_price_id_idx"),
        "products",
        ["price", "id"],
        unique=False,
        postgresql_include=["created_at", "name", "is_active", "in_stock"],
    )
    op.create_index(op.f("products_words_idx"), "products", ["words"], unique=False, postgresql_using="gin")
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("refresh_fingerprint", sa.Text(), nullable=False),
        sa.Column("spent", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("ip", sa.Text(), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("sessions_pkey")),
    )
    op.create_index(op.f("sessions_last_used_at_idx"), "sessions", ["last_used_at"], unique=False)
    op.create_index(
        "sessions_live_idx",
        "sessions",
        ["user_id", "last_used_at"],
        unique=False,
        postgresql_where=sa.text("ended_at is null"),
    )
    op.create_index(op.f("sessions_revoked_at_idx"), "sessions", ["revoked_at"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=True),
        sa.Column("username_key", sa.Text(), nullable=True),
        sa.Column("wanted_username", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=True),
        sa.Column("middle_name", sa.Text(), nullable=True),
        sa.Column("last_name", sa.Text(), nullable=True),
        sa.Column("phone_number", sa.Text(), nullable=True),
        sa.Column("gender", sa.Text(), nullable=True),
        sa.Column("age", sa.SmallInteger(), nullable=True),
        sa.Column("roles", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("email_verified", sa.Boolean(), nullable=False),
        sa.Column("pending", sa.Boolean(), nullable=False),
        sa.Column("two_step", sa.Boolean(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
        sa.UniqueConstraint("username_key", name=op.f("users_username_key_key")),
    )
    op.create_index(op.f("users_created_at_id_idx"), "users", ["created_at", "id"], unique=False)
    op.create_index("users_email_key", "users", ["email"], unique=True, postgresql_where=sa.text("not pending"))
    op.create_index(
        "users_email_prefix_idx", "users", ["email"], unique=False, postgresql_ops={"email": "text_pattern_ops"}
    )
    op.create_index(
        "users_name_prefix_idx",
        "users",
        [sa.literal_column("lower(name)").label("lowered")],
        unique=False,
        postgresql_ops={"lowered": "text_pattern_ops"},
    )
    op.create_index("users_pending_email_idx", "users", ["email"], unique=False, postgresql_where=sa.text("pending"))
    op.create_index(op.f("users_roles_idx"), "users", ["roles"], unique=False, postgresql_using="gin")
    op.create_index(
        "users_username_prefix_idx",
        "users",
        ["username_key"],
        unique=False,
        postgresql_ops={"username_key": "text_pattern_ops"},
    )
    op.create_table(
        "links",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("occasion", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("links_pkey")),
    )
    op.create_index(op.f("links_expires_at_idx"), "links", ["expires_at"], unique=False)
    op.create_index(op.f("links_user_id_purpose_idx"), "links", ["user_id", "purpose"], unique=False)
    op.create_table(
        "product_import_failures",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("problem", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["import_id"], ["product_imports.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("import_id", "line", name=op.f("product_import_failures_pkey")),
    )
    op.create_table(
        "stock_movements",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("balance", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("balance >= 0", name=op.f("stock_movements_balance_check")),
        sa.CheckConstraint("quantity <> 0", name=op.f("stock_movements_quantity_check")),
        sa.ForeignKeyConstraint(
            ["product_id"],
            ["products.id"],
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("stock_movements_pkey")),
    )
    op.create_index(
        op.f("stock_movements_product_id_position_idx"), "stock_movements", ["product_id", "position"], unique=False
    )
    op.execute(_TRIGGERS.read_text(encoding="utf-8"))


def downgrade() -> None:
    op.drop_index(op.f("stock_movements_product_id_position_idx"), table_name="stock_movements")
    op.drop_table("stock_movements")
    op.drop_table("product_import_failures")
    op.drop_index(op.f("links_user_id_purpose_idx"), table_name="links")
    op.drop_index(op.f("links_expires_at_idx"), table_name="links")
    op.drop_table("links")
    op.drop_index("users_username_prefix_idx", table_name="users", postgresql_ops={"username_key": "text_pattern_ops"})
    op.drop_index(op.f("users_roles_idx"), table_name="users", postgresql_using="gin")
    op.drop_index("users_pending_email_idx", table_name="users", postgresql_where=sa.text("pending"))
    op.drop_index("users_name_prefix_idx", table_name="users", postgresql_ops={"lowered": "text_pattern_ops"})
    op.drop_index("users_email_prefix_idx", table_name="users", postgresql_ops={"email": "text_pattern_ops"})
    op.drop_index("users_email_key", table_name="users", postgresql_where=sa.text("not pending"))
    op.drop_index(op.f("users_created_at_id_idx"), table_name="users")
    op.drop_table("users")
    op.drop_index(op.f("sessions_revoked_at_idx"), table_name="sessions")
    op.drop_index("sessions_live_idx", table_name="sessions", postgresql_where=sa.text("ended_at is null"))
    op.drop_index(op.f("sessions_last_used_at_idx"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(op.f("products_words_idx"), table_name="products", postgresql_using="gin")
    op.drop_index(
        op.f("products_price_id_idx"),
        table_name="products",
        postgresql_include=["created_at", "name", "is_active", "in_stock"],
    )
    op.drop_index(
        op.f("products_name_id_idx"), table_name="products", postgresql_include=["price", "is_active", "in_stock"]
    )
    op.drop_index(
        op.f("products_created_at_id_idx"), table_name="products", postgresql_include=["price", "is_active", "in_stock"]
    )
    op.drop_table("products")
    op.drop_index(op.f("product_imports_created_at_idx"), table_name="product_imports")
    op.drop_table("product_imports")
    op.drop_index(op.f("outbox_created_at_idx"), table_name="outbox")
    op.drop_index(op.f("outbox_aggregate_position_idx"), table_name="outbox")
    op.drop_table("outbox")
    op.drop_index(op.f("operations_request_id_idx"), table_name="operations")
    op.drop_index(op.f("operations_finished_at_idx"), table_name="operations")
    op.drop_table("operations")
    op.drop_index(op.f("mails_created_at_idx"), table_name="mails")
    op.drop_table("mails")
    op.drop_index(op.f("failures_updated_at_idx"), table_name="failures")
    op.drop_table("failures")
    op.drop_index(op.f("dead_letters_request_id_idx"), table_name="dead_letters")
    op.drop_index("dead_letters_open_idx", table_name="dead_letters", postgresql_where=sa.text("status = 'open'"))
    op.drop_index(op.f("dead_letters_last_dead_at_idx"), table_name="dead_letters")
    op.drop_table("dead_letters")
    op.drop_index(op.f("challenges_user_id_created_at_idx"), table_name="challenges")
    op.drop_index(op.f("challenges_created_at_idx"), table_name="challenges")
    op.drop_table("challenges")
    op.drop_index(op.f("audit_log_request_id_idx"), table_name="audit_log")
    op.drop_index(op.f("audit_log_at_id_idx"), table_name="audit_log")
    op.drop_index(op.f("audit_log_actor_at_id_idx"), table_name="audit_log")
    op.drop_index(op.f("audit_log_about_at_id_idx"), table_name="audit_log")
    op.drop_table("audit_log")
    op.execute("DROP FUNCTION audit_log_only_grows()")
