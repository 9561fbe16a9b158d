"""Limits: at most so many within a window that slides, for all processes together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from uuid_utils.compat import uuid7

from backend.kernel.context import AnyContext
from backend.kernel.limits import Limit, Limits, Use, network_of
from backend.kernel.messages.refusals import TooManyRequests
from backend.kernel.postgres.counters import Count
from backend.program import Process, Program
from backend.settings import Settings
from tests.inline import InlineQueue
from tests.settings import settings_with
from tests.worker import PATIENCE

NOW = datetime(2026, 1, 2, tzinfo=UTC)
FIVE = Limit("five", 5)


@pytest.fixture
def contexts() -> Sequence[AnyContext]:
    return ()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a connection takes longer than half a second: what is not counted is let through."""
    monkeypatch.setattr("backend.kernel.limits._LONGEST_WAIT", PATIENCE)


@pytest.fixture
def limits(process: Process, patient: None) -> Limits:
    return process.resources.limits


@pytest.fixture
def processes(settings: Settings, patient: None) -> Iterator[list[Limits]]:
    """Those of several processes on one database."""
    with ExitStack() as stack:
        opened = [Program(settings, ()).process(InlineQueue()) for _ in range(3)]
        for process in opened:
            stack.callback(process.close)
        yield [process.resources.limits for process in opened]


def let_through(limits: Limits, *uses: Use) -> bool:
    try:
        limits.take(uses)
    except TooManyRequests:
        return False
    return True


def seconds_left(limit: Limit, count: Count, now: datetime) -> int | None:
    with pytest.raises(TooManyRequests) as refused:
        limit.plus(count, now)
    return refused.value.retry_after


def counted(limit: Limit, minutes: Sequence[float]) -> Count:
    count = Count()
    for minute in minutes:
        count = limit.plus(count, NOW + timedelta(minutes=minute))
    return count


def test_the_limit_holds_in_any_hour() -> None:
    """Not only in those that begin with a first use: the window slides."""
    count = counted(FIVE, [0, 55, 56, 57, 58])
    assert seconds_left(FIVE, count, NOW + timedelta(minutes=59)) == 60
    count = FIVE.plus(count, NOW + timedelta(minutes=61))
    assert seconds_left(FIVE, count, NOW + timedelta(minutes=61)) == 54 * 60


def test_a_limit_that_was_lowered_refuses_until_there_is_room_again() -> None:
    count = counted(FIVE, [0, 10, 20, 30, 40])
    assert seconds_left(Limit("five", 2), count, NOW + timedelta(minutes=50)) == 40 * 60


@pytest.mark.parametrize("most", [1, 999, 1000, 1001, 2000, 10_000, 12_345, 100_000])
def test_a_counter_holds_at_most_a_thousand_times_and_lets_no_more_through(most: int) -> None:
    limit = Limit("wide", most)
    room = most // limit.step
    assert most * 0.9 <= room * limit.step <= most
    assert room <= 1000
    full = Count((NOW,) * room)
    assert limit.plus(Count(full.times[1:]), NOW) == full
    assert seconds_left(limit, full, NOW) == 3600


def test_parallel_uses_by_several_processes_are_counted_in_full(processes: list[Limits]) -> None:
    with ThreadPoolExecutor(12) as users:
        taken = list(users.map(lambda number: let_through(processes[number % 3], (FIVE, "ada")), range(24)))
    assert sum(taken) == 5


def test_of_a_wide_limit_no_more_are_let_through_by_several_processes(
    processes: list[Limits], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each counts some ahead: what it has not used yet is no other's."""
    monkeypatch.setattr("backend.kernel.limits._MOST_TIMES", 10)
    wide = Limit("wide", 50)
    taken = [sum(let_through(limits, (wide, "")) for _ in range(21)) for limits in processes]
    assert taken == [21, 21, 0]


def test_everybody_has_a_limit_of_their_own(limits: Limits) -> None:
    assert all(let_through(limits, (FIVE, "ada")) for _ in range(5))
    assert not let_through(limits, (FIVE, "ada"))
    assert let_through(limits, (FIVE, "boris"))
    assert let_through(limits, (Limit("six", 6), "ada"))


def test_whoever_one_limit_refuses_uses_nothing_of_the_other(limits: Limits) -> None:
    """One address that is refused must not use up what everybody has."""
    in_all = Limit("in all", 8)
    assert [let_through(limits, (FIVE, "ada"), (in_all, "")) for _ in range(20)].count(True) == 5
    assert [let_through(limits, (FIVE, "boris"), (in_all, "")) for _ in range(5)] == [True] * 3 + [False] * 2
    assert let_through(limits, (FIVE, "boris"))


def test_what_is_asked_for_again_is_not_counted_twice(limits: Limits) -> None:
    one = uuid7()
    for _ in range(10):
        limits.take([(FIVE, "ada")], once=one)
    assert [let_through(limits, (FIVE, "ada")) for _ in range(5)] == [True] * 4 + [False]
    limits.take([(FIVE, "ada")], once=one)


def test_what_was_refused_is_not_let_through_when_it_is_asked_for_again(limits: Limits) -> None:
    limits.take([(FIVE, "ada")], once=uuid7())
    assert [let_through(limits, (FIVE, "ada")) for _ in range(5)] == [True] * 4 + [False]
    for _ in range(2):
        with pytest.raises(TooManyRequests):
            limits.take([(FIVE, "ada")], once=(refused := uuid7()))
        with pytest.raises(TooManyRequests):
            limits.take([(FIVE, "ada")], once=refused)


def test_a_use_counts_with_the_transaction_it_belongs_to(process: Process) -> None:
    limits, database = process.resources.limits, process.resources.database
    with database.transaction() as connection:
        assert limits.take_in(connection, [(Limit("one", 1), "ada")])
        connection.rollback()
    for expected in (True, False):
        with database.transaction() as connection:
            assert limits.take_in(connection, [(Limit("one", 1), "ada")]) is expected


def test_names_are_not_readable_in_the_table(limits: Limits, settings: Settings) -> None:
    limits.take([(FIVE, "ada@example.com")])
    with psycopg.connect(settings.database_url) as connection:
        assert b"ada" not in b"".join(key for (key,) in connection.execute("select key from counters"))


def test_counters_that_refuse_nobody_any_more_are_purged(process: Process, settings: Settings) -> None:
    process.resources.limits.take([(FIVE, "ada"), (Limit("six", 6), "ada")])
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("update counters set expires_at = now() where key = (select key from counters limit 1)")
    assert process.purge() == 1


def test_uses_pass_while_the_database_is_away() -> None:
    """The broker alone accepts commands then; its lanes are bounded."""
    process = Program(settings_with(database_url="postgresql://127.0.0.1:1/none"), ()).process(InlineQueue())
    assert all(let_through(process.resources.limits, (Limit("one", 1), "ada")) for _ in range(3))
    process.close()


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:201", "192.0.2.1"),
        ("64:ff9b::c000:201", "192.0.2.1"),
        ("2002:c000:201::1", "192.0.2.1"),
        ("2002:c000:201:ffff:2::3", "192.0.2.1"),
        ("2001:db8::1", network_of("2001:0DB8:0:0:ffff::9")),
        ("fe80::1%eth0", network_of("fe80::2%eth1")),
    ],
)
def test_a_network_has_one_name_however_its_addresses_are_written(ip: str, network: str) -> None:
    assert network_of(ip) == network


def test_networks_of_different_people_have_different_names() -> None:
    ips = ["192.0.2.1", "64:ff9b::192.0.2.2", "2002:c000:203::1", "2001:db8::1", "2001:db8:0:1::1", ""]
    assert len(set(map(network_of, ips))) == len(ips)
