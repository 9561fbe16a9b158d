"""The first tables of users.

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "users_0001"
down_revision = None
branch_labels = ("users",)
depends_on = None


def upgrade() -> None:
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
        if_not_exists=True,
    )
    op.create_index(op.f("users_created_at_id_idx"), "users", ["created_at", "id"], unique=False, if_not_exists=True)
    op.create_index(
        "users_email_key", "users", ["email"], unique=True, postgresql_where=sa.text("not pending"), if_not_exists=True
    )
    op.create_index(
        "users_email_prefix_idx",
        "users",
        ["email"],
        unique=False,
        postgresql_ops={"email": "text_pattern_ops"},
        if_not_exists=True,
    )
    op.create_index(
        "users_name_prefix_idx",
        "users",
        [sa.literal_column("lower(name)").label("lowered")],
        unique=False,
        postgresql_ops={"lowered": "text_pattern_ops"},
        if_not_exists=True,
    )
    op.create_index(
        "users_pending_email_idx",
        "users",
        ["email"],
        unique=False,
        postgresql_where=sa.text("pending"),
        if_not_exists=True,
    )
    op.create_index(
        op.f("users_roles_idx"), "users", ["roles"], unique=False, postgresql_using="gin", if_not_exists=True
    )
    op.create_index(
        "users_username_prefix_idx",
        "users",
        ["username_key"],
        unique=False,
        postgresql_ops={"username_key": "text_pattern_ops"},
        if_not_exists=True,
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
        if_not_exists=True,
    )
    op.create_index(op.f("links_expires_at_idx"), "links", ["expires_at"], unique=False, if_not_exists=True)
    op.create_index(
        op.f("links_user_id_purpose_idx"), "links", ["user_id", "purpose"], unique=False, if_not_exists=True
    )


def downgrade() -> None:
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
