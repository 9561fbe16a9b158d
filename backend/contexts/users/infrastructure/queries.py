"""Queries of the users context, in SQL."""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa

from backend.contexts.users.application.queries import (
    AccountView,
    AdminContact,
    CountHashes,
    FindAccount,
    GetAccount,
    GetUser,
    HashCount,
    ListAdmins,
    ListUsers,
    UserView,
)
from backend.contexts.users.domain.errors import UserNotFound
from backend.contexts.users.domain.user import name_key
from backend.contexts.users.infrastructure.tables import PASSWORD_COST, PASSWORD_KEY, users
from backend.kernel.messages.paging import Page, page_of
from backend.kernel.messages.refusals import Invalid
from backend.kernel.messages.values import address_spelling, email_address, folded
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.queries import Queries
from backend.kernel.postgres.statements import Statement, starts_with

queries = Queries()

_VIEW = sa.select(*(users.c[name] for name in UserView.__dataclass_fields__))
_BY_ID = Statement(_VIEW.where(users.c.id == sa.bindparam("id")), UserView)

_ACCOUNT = sa.select(*(users.c[name] for name in AccountView.__dataclass_fields__))
_ACCOUNT_BY_ID = Statement(_ACCOUNT.where(users.c.id == sa.bindparam("id")), AccountView)
_HELD_ACCOUNT = Statement(_ACCOUNT.where(users.c.id == sa.bindparam("id")).with_for_update(key_share=True), AccountView)
_ACCOUNT_BY_USERNAME = Statement(_ACCOUNT.where(users.c.username_key == sa.bindparam("username")), AccountView)
_ACCOUNT_BY_EMAIL = Statement(
    _ACCOUNT.where(users.c.email == sa.bindparam("email"))
    .order_by(users.c.pending, users.c.created_at.desc(), users.c.id.desc())
    .limit(1),
    AccountView,
)


@queries.on(GetUser)
def get_user(query: GetUser, connection: ReadConnection) -> UserView:
    """One user."""
    user = _BY_ID.one(connection, id=query.user_id)
    if user is None:
        raise UserNotFound
    return user


@queries.on(GetAccount)
def get_account(query: GetAccount, connection: ReadConnection) -> AccountView | None:
    """One user's account."""
    statement = _HELD_ACCOUNT if query.hold else _ACCOUNT_BY_ID
    return statement.one(connection, id=query.user_id)


@queries.on(FindAccount)
def find_account(query: FindAccount, connection: ReadConnection) -> AccountView | None:
    """The account behind an address or a username."""
    if query.email is not None:
        return _ACCOUNT_BY_EMAIL.one(connection, email=_normalized(query.email))
    return _ACCOUNT_BY_USERNAME.one(connection, username=folded(query.username or ""))


@queries.on(ListUsers)
def list_users(query: ListUsers, connection: ReadConnection) -> Page[UserView]:
    """A page of users, newest first."""
    parameters = {
        "email": _normalized(query.email) if query.email is not None else None,
        "username": folded(query.username) if query.username is not None else None,
        "is_active": query.is_active,
        "q": starts_with(name_key(query.q)) if query.q else None,
        "address": starts_with(address_spelling(query.q)) if query.q else None,
    }
    given = {name: value for name, value in parameters.items() if value is not None}
    if query.after:
        given["created_at"], given["id"] = query.after
    rows = _listing(frozenset(given)).all(connection, limit=query.limit + 1, **given)
    return page_of(rows, query.limit, lambda user: (user.created_at.isoformat(), str(user.id)))


@cache
def _listing(given: frozenset[str]) -> Statement[UserView]:
    """One statement per combination of filters, so that PostgreSQL plans each for itself."""
    select = _VIEW.order_by(users.c.created_at.desc(), users.c.id.desc()).limit(sa.bindparam("limit", type_=sa.Integer))
    q, address = sa.bindparam("q", type_=sa.Text), sa.bindparam("address", type_=sa.Text)
    conditions = {
        "email": users.c.email == sa.bindparam("email"),
        "username": users.c.username_key == sa.bindparam("username"),
        "is_active": users.c.is_active == sa.bindparam("is_active"),
        "q": sa.or_(users.c.name_key.like(q), users.c.username_key.like(q), users.c.email.like(address)),
        "created_at": sa.tuple_(users.c.created_at, users.c.id)
        < sa.tuple_(
            sa.bindparam("created_at", type_=users.c.created_at.type), sa.bindparam("id", type_=users.c.id.type)
        ),
    }
    return Statement(select.where(*(conditions[name] for name in conditions if name in given)), UserView)


_ADMINS = Statement(
    sa.select(users.c.email, users.c.language)
    .where(users.c.is_active, users.c.roles.contains(sa.cast(["admin"], users.c.roles.type)))
    .order_by(users.c.id),
    AdminContact,
)


@queries.on(ListAdmins)
def list_admins(query: ListAdmins, connection: ReadConnection) -> list[AdminContact]:
    """Every active administrator."""
    return _ADMINS.all(connection)


_KINDS: dict[str, sa.ColumnElement[Any]] = {
    "key": PASSWORD_KEY,
    "rounds": sa.cast(PASSWORD_COST, sa.Integer),
    "accounts": sa.func.count(),
}
_HASHES = Statement(
    sa.select(*(column.label(name) for name, column in _KINDS.items()))
    .select_from(users)
    .group_by("key", "rounds")
    .order_by("key", "rounds"),
    HashCount,
)


@queries.on(CountHashes)
def count_hashes(query: CountHashes, connection: ReadConnection) -> list[HashCount]:
    """Each kind of hash in use."""
    return _HASHES.all(connection)


def _normalized(email: str) -> str:
    """The normalized address. An invalid one stays as it is and matches nobody."""
    try:
        return email_address(email)
    except Invalid:
        return email
