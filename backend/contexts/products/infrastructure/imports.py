"""The staged uploads of imports, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import islice
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from backend.contexts.products.application.ports import ImportedRow
from backend.contexts.products.infrastructure.rows import READERS, imported
from backend.contexts.products.infrastructure.tables import import_failures, imports
from backend.kernel.delivery.dead_letters import storable
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.http.problems import problem_of
from backend.kernel.messages.message import Progress
from backend.kernel.messages.origin import current_origin
from backend.kernel.messages.refusals import Refusal
from backend.kernel.postgres.retention import Retention

RETENTION_DAYS = 30


class SqlImports:
    """`Imports` within one unit of work. The lock on an upload's row gives its rows to one worker at a time."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def stage(self, import_id: UUID, media_type: str, content: bytes, rows: int) -> None:
        """Insert an upload, unless it is there already."""
        row = {"id": import_id, "media_type": media_type, "content": content, "total": rows}
        self._unit.connection.execute(insert(imports).values(row).on_conflict_do_nothing())

    def next_rows(self, import_id: UUID, limit: int) -> Sequence[ImportedRow]:
        """The first unprocessed rows; the upload stays locked."""
        select = sa.select(imports).where(imports.c.id == import_id).with_for_update()
        upload = self._unit.connection.execute(select).one()
        rows = READERS[upload.media_type](upload.content)
        return [imported(row) for row in islice(rows, upload.done, upload.done + limit)]

    def advance(self, import_id: UUID, rows: int, refused: Sequence[tuple[int, Refusal]]) -> Progress:
        """Record the progress and the refused lines."""
        connection, request_id = self._unit.connection, current_origin.get().request_id
        failures = [
            {"import_id": import_id, "line": line, "problem": storable(problem_of(refusal, request_id))}
            for line, refusal in refused
        ]
        if failures:
            connection.execute(import_failures.insert(), failures)
        update = imports.update().where(imports.c.id == import_id).values(done=imports.c.done + rows)
        now = connection.execute(update.returning(imports.c.done, imports.c.total)).one()
        return Progress(now.done, now.total, len(failures))


RETENTION = Retention(imports.c.created_at, timedelta(days=RETENTION_DAYS))
