"""Tables of the users context, and the mapping of rows to users."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from backend.contexts.users.domain.user import User, name_key
from backend.kernel.postgres.search_keys import SearchKeys
from backend.kernel.postgres.tables import mapper_registry, metadata

# Of a hash such as `0a1b2c3d$2b$12$…`. Literals, not parameters: the index is on just this expression.
PASSWORD_KEY: sa.ColumnElement[str] = sa.literal_column("split_part(password_hash, '$', 1)", sa.Text)
PASSWORD_COST: sa.ColumnElement[str] = sa.literal_column("split_part(password_hash, '$', 3)", sa.Text)

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("username", sa.Text),
    sa.Column("username_key", sa.Text, unique=True),
    sa.Column("wanted_username", sa.Text),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("name_key", sa.Text, nullable=False, server_default=""),
    sa.Column("first_name", sa.Text),
    sa.Column("middle_name", sa.Text),
    sa.Column("last_name", sa.Text),
    sa.Column("phone_number", sa.Text),
    sa.Column("gender", sa.Text),
    sa.Column("age", sa.SmallInteger),
    sa.Column("roles", ARRAY(sa.Text), nullable=False),
    sa.Column("is_active", sa.Boolean, nullable=False),
    sa.Column("email_verified", sa.Boolean, nullable=False),
    sa.Column("pending", sa.Boolean, nullable=False),
    sa.Column("two_step", sa.Boolean, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("password_version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column(
        "updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now(), onupdate=sa.func.now()
    ),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("written", JSONB, nullable=False, server_default="{}"),
    # Several pending accounts may share an address; one account holds it.
    sa.Index("users_email_key", "email", unique=True, postgresql_where=sa.text("not pending")),
    sa.Index("users_pending_email_idx", "email", postgresql_where=sa.text("pending")),
    # What the most expensive hash in use costs is asked at each sign-in.
    sa.Index("users_password_cost_idx", PASSWORD_COST),
    sa.Index(None, "roles", postgresql_using="gin"),
    sa.Index(None, "created_at", "id"),
    # Prefix searches, whatever the database's collation.
    sa.Index("users_name_key_prefix_idx", "name_key", postgresql_ops={"name_key": "text_pattern_ops"}),
    sa.Index("users_email_prefix_idx", "email", postgresql_ops={"email": "text_pattern_ops"}),
    sa.Index("users_username_prefix_idx", "username_key", postgresql_ops={"username_key": "text_pattern_ops"}),
)

links = sa.Table(
    "links",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("occasion", sa.Text, nullable=False),
    sa.Column("email", sa.Text),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
    sa.Index(None, "user_id", "purpose"),
    sa.Index(None, "expires_at"),
)

mapper_registry.map_imperatively(User, users, version_id_col=users.c.version, eager_defaults=False)
SEARCH_KEYS = SearchKeys("users", ("name",), ("name_key",), lambda name: (name_key(name),))
