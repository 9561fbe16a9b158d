"""Partitions by the time in ids: made ahead, dropped when their rows are past retention, and never in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import make_url
from uuid_utils.compat import uuid7

from backend.kernel.delivery import inbox
from backend.kernel.delivery.envelope import Envelope, Headers
from backend.kernel.delivery.inbox import AlreadyDone
from backend.kernel.observe import audit
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.partitions import Partition, first_id, partitions_of
from backend.kernel.postgres.retention import purge
from tests.chaos.clock import Clock
from tests.postgres import database_beside, migrate

DAY = timedelta(days=1)


class Place:
    """A database whose tables were partitioned some time ago."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(url)

    def partitions(self, table: str = "operations") -> list[Partition]:
        """Those that begin at some time, oldest first."""
        found = self.database.read(lambda connection: partitions_of(connection, table), fresh=True)
        return sorted((one for one in found if one.begins), key=lambda one: str(one.begins))

    def claim(self, operation_id: UUID, finished_at: datetime | None = None) -> None:
        with self.database.transaction() as connection:
            inbox.claim(connection, Envelope(operation_id, "notes.write", "notes.commands", {}, Headers()))
        changed = "update operations set finished_at = coalesce(%s, finished_at) where id = %s"
        self.execute(changed, finished_at, operation_id)

    def execute(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url) as connection:
            found = connection.execute(statement.encode(), parameters)
            return found.fetchall() if found.description else []

    def where(self, operation_id: UUID) -> str:
        """The partition that has the operation."""
        ((name,),) = self.execute("select tableoid::regclass::text from operations where id = %s", operation_id)
        return str(name)

    def purge(self, until: datetime) -> int:
        """Purge what was finished before a time, perhaps of the future."""
        return purge(self.database, [replace(inbox.RETENTION, age=datetime.now(UTC) - until)])


@pytest.fixture
def place(database_url: str) -> Iterator[Place]:
    with database_beside(database_url, "partitions_test") as url:
        migrate(url)
        there = Place(url)
        purge(there.database, [inbox.RETENTION, audit.RETENTION])
        yield there
        there.database.close()


@pytest.fixture
def following(place: Place) -> Partition:
    """The first partition after the oldest."""
    partition, *_ = place.partitions()
    return partition


def id_in(partition: Partition) -> UUID:
    assert partition.begins
    return first_id(partition.begins + DAY)


def end_of(partition: Partition) -> datetime:
    assert partition.ends
    return partition.ends


def test_the_purge_makes_partitions_ahead_and_an_operation_is_stored_by_the_time_of_its_id(
    place: Place, following: Partition
) -> None:
    place.claim(now := uuid7())
    place.claim(later := id_in(following))

    assert place.where(now) == "operations_oldest"
    assert place.where(later) == following.name


@pytest.mark.parametrize(("table", "days"), [("operations", 7), ("audit_log", 30)])
def test_a_partition_is_as_long_as_rows_may_outlive_their_retention(place: Place, table: str, days: int) -> None:
    assert {end_of(one) - one.begins for one in place.partitions(table) if one.begins} == {days * DAY}


def test_partitions_are_dropped_when_everything_in_them_is_past_its_retention(
    place: Place, following: Partition
) -> None:
    place.claim(id_in(following), finished_at=end_of(following) - DAY)

    place.purge(end_of(following) - timedelta(hours=1))
    assert following in place.partitions()

    place.purge(end_of(following))
    assert following not in place.partitions()
    assert place.execute("select count(*) from operations") == [(0,)]


def test_what_is_to_be_kept_outlives_its_partition_and_still_takes_effect_once(
    place: Place, following: Partition
) -> None:
    """A message that waited for weeks has an old id and a new outcome."""
    place.claim(kept := id_in(following), finished_at=end_of(following) + DAY)
    place.claim(first_id(end_of(following) - DAY), finished_at=end_of(following) - DAY)

    place.purge(end_of(following))

    assert following not in place.partitions()
    assert place.execute("select id from operations") == [(kept,)]
    with pytest.raises(AlreadyDone):
        place.claim(kept)

    place.purge(end_of(following) + 2 * DAY)
    assert place.execute("select id from operations") == []


def test_a_message_whose_partition_is_gone_takes_effect_once(place: Place, following: Partition) -> None:
    place.purge(end_of(following))

    place.claim(id_in(following))

    with pytest.raises(AlreadyDone):
        place.claim(id_in(following))


def test_rows_of_missed_maintenance_are_kept_and_purged_one_by_one(place: Place, following: Partition) -> None:
    place.execute(f"drop table {following.name}")
    place.claim(missed := id_in(following))
    purge(place.database, [inbox.RETENTION])  # it does not make a partition for what the default one has

    assert place.where(missed) == "operations_default"
    with pytest.raises(AlreadyDone):
        place.claim(missed)

    assert place.purge(datetime.now(UTC) + DAY) == 1


def test_an_id_from_a_clock_that_is_wrong_by_years_is_stored(place: Place) -> None:
    place.claim(wrong := first_id(datetime(2100, 1, 1, tzinfo=UTC)))
    assert place.where(wrong) == "operations_default"


_PURGE = """
import sys
from backend.kernel.delivery import inbox
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.retention import purge
purge(Database(sys.argv[1]), [inbox.RETENTION])
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="setting a clock needs a C compiler, cc")
def test_a_worker_whose_clock_is_years_ahead_drops_nothing(place: Place, following: Partition, tmp_path: Path) -> None:
    place.claim(operation := id_in(following))
    clock = Clock(tmp_path)
    clock.set(2 * 365 * 86400)

    subprocess.run([sys.executable, "-c", _PURGE, place.url], env=os.environ | clock.environment, check=True)

    assert following in place.partitions()
    assert place.where(operation) == following.name


def test_a_partition_in_use_is_left_to_the_next_run(place: Place, following: Partition) -> None:
    with psycopg.connect(place.url) as reader:
        reader.execute("select from operations")
        place.purge(end_of(following))
        assert following in place.partitions()

    place.purge(end_of(following))
    assert following not in place.partitions()


def test_a_role_that_does_not_own_the_table_purges_row_by_row(place: Place, following: Partition) -> None:
    place.claim(id_in(following), finished_at=end_of(following) - DAY)
    place.execute("drop role if exists no_owner")
    place.execute("create role no_owner login in role pg_read_all_data, pg_write_all_data")
    try:
        guest = Place(make_url(place.url).set(username="no_owner").render_as_string(hide_password=False))
        assert guest.purge(end_of(following)) == 1
        guest.database.close()
    finally:
        place.execute("drop role no_owner")

    assert following in place.partitions()


def test_no_partition_of_the_audit_log_can_be_changed(place: Place) -> None:
    (newest, *_) = place.partitions("audit_log")
    assert newest.begins
    insert = "insert into audit_log (id, action, outcome) values (%s, 'notes.write', 'succeeded')"
    place.execute(insert, first_id(newest.begins))
    place.execute(insert, uuid7())

    for table in (newest.name, "audit_log_oldest", "audit_log"):
        for change in ("truncate {}", "delete from {}", "update {} set outcome = 'locked'"):
            with pytest.raises(InsufficientPrivilege):
                place.execute(change.format(table))
