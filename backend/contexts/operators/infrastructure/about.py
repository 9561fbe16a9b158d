"""What this process runs: version, contexts, limits, keys, migrations. No setting that may be a secret is read."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from backend.kernel.delivery.dispatch import Bus
from backend.kernel.http.api import api
from backend.kernel.keys import key_id
from backend.kernel.postgres.database import ReadConnection
from backend.settings import ROOT, Settings

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory


@dataclass(frozen=True)
class KeyView:
    """A secret key, without the key.

    Attributes:
        id: as messages name it in their MAC.
        use: `signs`, or `verifies` for an earlier or a coming one.
    """

    id: str
    use: str


@dataclass(frozen=True)
class AboutView:
    """What this process runs.

    Attributes:
        commit: "" if COMMIT is not set.
        contexts: whose routes it serves.
        limits: every setting that is a number or a switch; texts may be secrets.
        migrations_pending: revisions that this code has and the database has not.
        migrations_unknown: revisions that the database has and this code has not: a newer release was here.
    """

    version: str
    commit: str
    environment: str
    contexts: list[str]
    limits: dict[str, float | bool]
    keys: list[KeyView]
    migrations_pending: list[str]
    migrations_unknown: list[str]


def about_view(bus: Bus) -> AboutView:
    """What this process runs."""
    settings = api().settings
    applied, known = bus.database.read(_applied, fresh=True), _scripts()
    unknown = sorted(applied - known.keys())
    covered = {one for revision in applied & known.keys() for one in known[revision]}
    return AboutView(
        version=_version(),
        commit=settings.commit,
        environment=settings.app_env,
        contexts=sorted(name for name in api().contexts if settings.serves(name)),
        limits=dict(sorted(_limits(settings))),
        keys=_keys(),
        migrations_pending=sorted(known.keys() - covered),
        migrations_unknown=unknown,
    )


@cache
def _version() -> str:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def _limits(settings: Settings) -> Iterator[tuple[str, float | bool]]:
    for part in (settings, *settings.of_contexts):
        for field in fields(part):  # type: ignore[arg-type]  # each is a dataclass
            value: Any = getattr(part, field.name)
            if isinstance(value, bool | int | float):
                yield field.name, value


def _keys() -> list[KeyView]:
    first, *others = map(key_id, api().keyring.derived("authenticating messages"))
    return [KeyView(first, "signs"), *(KeyView(other, "verifies") for other in others)]


def _applied(connection: ReadConnection) -> set[str]:
    return {revision for (revision,) in connection.execute("select version_num from alembic_version")}


@cache
def _scripts() -> dict[str, set[str]]:
    """Each migration of this code, with those that precede it and itself."""
    scripts = _script_directory()
    return {
        one.revision: {earlier.revision for earlier in scripts.iterate_revisions(one.revision, "base")}
        for one in scripts.walk_revisions()
    }


def _script_directory() -> ScriptDirectory:
    # Imported here: every process would pay for it at its start, and few are ever asked.
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each of its plugins
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    return ScriptDirectory.from_config(Config(ROOT / "alembic.ini"))
