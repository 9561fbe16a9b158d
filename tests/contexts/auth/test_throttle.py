"""The throttle: in 5 minutes 5 failures per account and address, 50 per account, 20 per address."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from backend.contexts.auth.domain.throttle import LONGEST_BLOCK, WINDOW, Failures
from backend.kernel.messages.refusals import Busy, TooManyAttempts
from backend.kernel.turns import Turns
from backend.settings import Settings
from tests.client import Client
from tests.contexts.auth.conftest import Database, Person, Register
from tests.program import another_process
from tests.worker import eventually

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LIMIT = 5


def blocked() -> Failures:
    failures = Failures()
    for _ in range(LIMIT):
        failures = failures.plus(NOW, LIMIT)
    return failures


def seconds_left(failures: Failures, now: datetime) -> int:
    with pytest.raises(TooManyAttempts) as refused:
        failures.plus(now, LIMIT)
    return refused.value.retry_after or 0


def test_the_limit_holds_in_any_five_minutes() -> None:
    """Not only in those that begin on the hour: the window slides."""
    failures = Failures()
    for minute in (0, 4, 4.5, 4.7, 4.9):
        failures = failures.plus(NOW + timedelta(minutes=minute), LIMIT)
    assert seconds_left(failures, NOW + timedelta(minutes=4.95)) > 0


def test_failures_older_than_five_minutes_do_not_count() -> None:
    failures = Failures()
    for minute in (0, 4, 4.5, 4.7, 6, 6.1):
        failures = failures.plus(NOW + timedelta(minutes=minute), LIMIT)
    assert len(failures.times) == 5


def test_the_block_grows_to_fifteen_minutes_and_no_further() -> None:
    """429 with `Retry-After`, growing, at most 15 minutes."""
    lengths, failures, now = [], Failures(), NOW
    for _ in range(5):
        for _ in range(LIMIT):
            failures = failures.plus(now, LIMIT)
        lengths.append(seconds_left(failures, now))
        now += timedelta(seconds=lengths[-1])
    assert lengths == [300, 600, 900, 900, 900]


def test_going_on_trying_does_not_make_the_block_longer() -> None:
    """Never a permanent lock."""
    failures = blocked()
    for second in range(0, 300, 10):
        assert seconds_left(failures, NOW + timedelta(seconds=second)) == 300 - second
    assert failures.plus(NOW + WINDOW, LIMIT).times == (NOW + WINDOW,)


def test_a_block_begins_with_the_last_failure() -> None:
    failures = Failures()
    for minute in range(LIMIT):
        failures = failures.plus(NOW + timedelta(minutes=minute), LIMIT)
    assert seconds_left(failures, NOW + timedelta(minutes=LIMIT - 1)) == WINDOW.total_seconds()


def test_a_failure_that_may_not_be_refused_is_counted() -> None:
    assert blocked().plus(NOW, LIMIT, refusing=False).times == (NOW,) * (LIMIT + 1)


def test_a_correct_attempt_takes_back_its_failure_and_no_block() -> None:
    assert Failures((NOW, NOW + WINDOW), 2).minus_one() == Failures((NOW,), 2)


def test_earlier_blocks_are_forgotten_after_a_quiet_hour() -> None:
    failures = blocked().plus(NOW + WINDOW, LIMIT)
    assert failures.blocks == 1
    assert failures.plus(NOW + timedelta(hours=2), LIMIT).blocks == 0
    assert blocked().plus(NOW + timedelta(hours=2), LIMIT).blocks == 0


def test_the_sixth_failure_from_one_address_is_429_for_the_right_password_too(client: Client, ada: Person) -> None:
    """5 failures per account and address → 429 with `Retry-After`, for the right password too."""
    assert [client.sign_in(ada.email, "wrong password").status_code for _ in range(5)] == [401] * 5
    refused = client.sign_in(ada.email)
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_attempts")
    assert 0 < int(refused.headers["Retry-After"]) <= LONGEST_BLOCK.total_seconds()


def test_attempts_that_the_server_could_not_finish_are_no_failures(
    client: Client, ada: Person, database: Database
) -> None:
    """Also if the server aborts one of them several times."""
    for state in ("53100", "55P03", "40001", "40P01"):
        database.fail_sessions(state)
        answers = [client.sign_in(ada.email) for _ in range(3)]
        assert {(answer.status_code, answer.headers.get("Retry-After")) for answer in answers} == {(503, "2")}
    database.fail_sessions("")
    assert client.sign_in(ada.email).status_code == 200


def test_address_and_username_are_the_same_account(client: Client, ada: Person) -> None:
    """Per account: its other name gives no further guesses."""
    names = [ada.email, ada.username] * 3
    assert [client.sign_in(name, "wrong password").status_code for name in names] == [401] * 5 + [429]


def test_an_unknown_account_is_throttled_as_if_there_were_one(client: Client) -> None:
    """Unknown account: the same."""
    spellings = ["Nobody@example.com", "nobody@EXAMPLE.com"] * 3
    assert [client.sign_in(name).status_code for name in spellings] == [401] * 5 + [429]


def test_another_address_may_still_sign_in(at: Callable[[str], Client], ada: Person) -> None:
    """The five are per account and address: whoever guesses does not lock the owner out."""
    for _ in range(6):
        at("192.0.2.66").sign_in(ada.email, "wrong password")
    assert at("192.0.2.1").sign_in(ada.email).status_code == 200


def test_no_name_is_counted_as_another_account_or_address(at: Callable[[str], Client], ada: Person) -> None:
    """A name may be any text, also one that looks like somebody else's counter."""
    for number in range(4):
        for name in (f"{ada.id} from 192.0.2.1", "from 192.0.2.1"):
            for _ in range(5):
                at(f"198.51.100.{number}").sign_in(name, "wrong password")
    assert at("192.0.2.1").sign_in(ada.email).status_code == 200


def test_fifty_failures_of_one_account_refuse_every_address(at: Callable[[str], Client], ada: Person) -> None:
    """50 per account."""
    statuses = [at(f"192.0.2.{n // 5}").sign_in(ada.email, "wrong password").status_code for n in range(50)]
    assert statuses == [401] * 50
    assert at("198.51.100.1").sign_in(ada.email).status_code == 429


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::{:x}"])
def test_twenty_failures_from_one_address_refuse_every_account(
    at: Callable[[str], Client], ada: Person, address: str
) -> None:
    """20 per address; an IPv6 /64 belongs to one customer."""
    for number in range(20):
        assert at(address.format(number)).sign_in(f"nobody{number}").status_code == 401
    assert at(address.format(99)).sign_in(ada.email).status_code == 429
    assert at("198.51.100.1").sign_in(ada.email).status_code == 200


def test_signing_in_forgets_the_failures_before(client: Client, ada: Person) -> None:
    for _ in range(3):
        assert [client.sign_in(ada.email, "wrong password").status_code for _ in range(4)] == [401] * 4
        assert client.sign_in(ada.email).status_code == 200


def test_right_passwords_are_never_too_many(client: Client, ada: Person) -> None:
    """Failures count, nothing else."""
    assert {client.sign_in(ada.email).status_code for _ in range(25)} == {200}


def test_parallel_guesses_count_in_full(settings: Settings, client: Client, ada: Person) -> None:
    """Counted atomically under parallel guesses; the same limit however many API processes run."""
    with ExitStack() as processes, ThreadPoolExecutor(12) as guessers:
        apps = [processes.enter_context(another_process(settings)) for _ in range(3)]
        guesses = [
            guessers.submit(Client(apps[number % 3]).sign_in, ada.email, "wrong password") for number in range(12)
        ]
        statuses = sorted(guess.result().status_code for guess in guesses)
    assert statuses == [401] * 5 + [429] * 7


def test_parallel_right_passwords_all_sign_in(client: Client, ada: Person, at: Callable[[str], Client]) -> None:
    """An attempt in flight is not a failure."""
    with ThreadPoolExecutor(8) as people:
        answers = people.map(lambda _: at("192.0.2.1").sign_in(ada.email).status_code, range(8))
        assert list(answers) == [200] * 8


def test_a_wrong_old_password_counts(client: Client, ada: Person) -> None:
    """Wrong old passwords count."""
    signed_in = client.with_token(client.sign_in(ada.email).json["access_token"])
    for _ in range(5):
        assert signed_in.put("/auth/two-step", {"enabled": True, "password": "wrong"}).status_code == 403
    assert signed_in.put("/auth/two-step", {"enabled": True, "password": "wrong"}).status_code == 429
    assert client.sign_in(ada.email).status_code == 429


def test_the_block_ends_by_itself(client: Client, ada: Person, database: Database) -> None:
    """Never a permanent lock."""
    for _ in range(6):
        client.sign_in(ada.email, "wrong password")
    database.execute("update counters set times = array(select t - interval '5 minutes' from unnest(times) t)")
    assert client.sign_in(ada.email).status_code == 200


def test_names_and_addresses_are_not_readable_in_the_table(
    client: Client, register: Register, database: Database
) -> None:
    client.sign_in("nobody@example.com")
    assert b"nobody" not in b"".join(key for (key,) in database.execute("select key from counters"))


def test_the_surplus_of_a_storm_of_sign_ins_is_refused_at_once() -> None:
    """503 with `Retry-After`: reads stay fast."""
    turns = Turns(at_once=1, longest_wait=0)
    with turns.one("ada"), pytest.raises(Busy) as refused, turns.one("bob"):
        pass
    assert refused.value.retry_after == 2


def test_of_one_account_one_password_is_checked_at_a_time() -> None:
    turns = Turns(at_once=2, longest_wait=0)
    with turns.one("ada"):
        with turns.one("bob"):
            pass
        with pytest.raises(Busy), turns.one("ada"):
            pass


def test_whoever_is_throttled_takes_nobodys_turn(
    at: Callable[[str], Client], ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 connections from a throttled address must not have others answered 503."""
    for number in range(20):
        at("192.0.2.66").sign_in(f"nobody{number}", "wrong password")
    monkeypatch.setattr("backend.kernel.turns._PLACES_TO_WAIT", 0)
    assert at("192.0.2.1").sign_in(ada.email).status_code == 503
    assert at("192.0.2.66").sign_in(ada.email).status_code == 429


def test_whoever_is_throttled_takes_nobodys_turn_for_a_password_of_their_own(
    at: Callable[[str], Client], ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = at("192.0.2.66").with_token(at("192.0.2.66").sign_in(ada.email).json["access_token"])
    for number in range(20):
        at("192.0.2.66").sign_in(f"nobody{number}", "wrong password")
    monkeypatch.setattr("backend.kernel.turns._PLACES_TO_WAIT", 0)
    for path, body in (("two-step", {"enabled": True}), ("change-email", {"email": "new@example.com"})):
        assert known.put(f"/auth/{path}", {**body, "password": "wrong password"}).status_code == 429


def test_one_network_takes_a_part_of_the_places_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.kernel.turns._PLACES_OF_ONE_NETWORK", 2)
    turns = Turns(at_once=1, longest_wait=10)

    def check(account: str, network: str) -> str:
        with turns.one(account, network):
            return network

    with ThreadPoolExecutor(3) as others:
        with turns.one("ada", "home"):
            waiting = [others.submit(check, account, "crowd") for account in ("bob", "eve")]
            eventually(lambda: turns.waiting == 2)
            with pytest.raises(Busy):
                check("dan", "crowd")
            waiting.append(others.submit(check, "kim", "home"))
            eventually(lambda: turns.waiting == 3)
        assert [one.result() for one in waiting] == ["crowd", "crowd", "home"]


def test_a_turn_is_waited_for() -> None:
    turns = Turns(at_once=1, longest_wait=10)
    order = []

    def check() -> None:
        with turns.one("bob"):
            order.append("bob")

    with ThreadPoolExecutor(1) as another:
        with turns.one("ada"):
            waiting = another.submit(check)
            order.append("ada")
        waiting.result()
    assert order == ["ada", "bob"]
