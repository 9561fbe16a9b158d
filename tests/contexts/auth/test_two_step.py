"""Two-step sign-in: challenge, code, resend."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.contexts.auth.domain.events import SignInCodeRequested
from backend.contexts.users.application.commands import DeactivateUser
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.keys import Keyring
from backend.settings import Settings
from tests.client import PASSWORD, Client
from tests.contexts.auth.conftest import Database, Person, Told, ordered_by_an_admin
from tests.inline import InlineQueue


class Challenged:
    """Somebody who gave the right password and has a code to type."""

    def __init__(self, client: Client, queue: InlineQueue, told: Told, person: Person) -> None:
        self.client, self._queue, self._told, self.person = client, queue, told, person
        answer = client.sign_in(person.email)
        assert answer.json.keys() == {"two_step", "challenge", "expires_in"}, answer.json
        self.challenge: str = answer.json["challenge"]
        self.answer = answer.json

    @property
    def code(self) -> str:
        """The newest that was mailed."""
        self._queue.drain()
        return self._told.codes()[-1]

    @property
    def wrong_code(self) -> str:
        return f"{(int(self.code) + 1) % 10**6:06}"

    def status(self, code: str, challenge: str | None = None) -> int:
        named = self.challenge if challenge is None else challenge
        answer = self.client.post("/auth/verify-code", {"challenge": named, "code": code})
        if answer.status_code == 401:
            assert answer.json["code"] == "invalid_code"
        return answer.status_code

    def resend(self) -> int:
        return self.client.post("/auth/resend-code", {"challenge": self.challenge}).status_code


@pytest.fixture
def ada(ada: Person, database: Database) -> Person:
    database.set_user(ada.id, two_step=True)
    return ada


@pytest.fixture
def challenged(client: Client, queue: InlineQueue, told: Told, ada: Person) -> Challenged:
    return Challenged(client, queue, told, ada)


def test_with_two_step_on_a_password_brings_a_challenge_and_a_code_by_mail(challenged: Challenged, told: Told) -> None:
    """200 `{"two_step": true, "challenge": "…", "expires_in": 300}` and a 6-digit code by e-mail."""
    assert challenged.answer["two_step"] is True
    assert challenged.answer["expires_in"] == 300
    assert len(challenged.code) == 6
    assert challenged.code.isdecimal()
    (event,) = told.of(SignInCodeRequested)
    assert (event.user_id, event.email) == (challenged.person.id, challenged.person.email)


def test_the_code_brings_tokens(challenged: Challenged, client: Client) -> None:
    """`{"challenge", "code"}` → tokens."""
    answer = client.post("/auth/verify-code", {"challenge": challenged.challenge, "code": challenged.code})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.with_token(answer.json["access_token"]).get("/auth/me").json["id"] == str(challenged.person.id)


def test_a_code_is_good_once(challenged: Challenged) -> None:
    """Single use."""
    assert [challenged.status(challenged.code) for _ in range(2)] == [200, 401]


def test_a_code_may_be_typed_with_spaces(challenged: Challenged) -> None:
    """As mails and phones show it; digits are ASCII digits."""
    code = challenged.code
    assert challenged.status("".join(chr(ord(digit) + 0x660 - 0x30) for digit in code)) == 401
    assert challenged.status(f" {code[:3]} \u200b\u202d{code[3:]}\u00a0\u202c") == 200


def test_a_code_is_good_for_five_minutes(challenged: Challenged, database: Database) -> None:
    """5 minutes."""
    database.execute("update challenges set expires_at = expires_at - interval '5 minutes'")
    assert challenged.status(challenged.code) == 401


def test_a_challenge_bears_five_tries(challenged: Challenged) -> None:
    """5 tries per challenge; exhausted: the same `401 invalid_code`, for the right code too."""
    assert [challenged.status(challenged.wrong_code) for _ in range(5)] == [401] * 5
    assert challenged.status(challenged.code) == 401


def test_of_six_parallel_guesses_five_are_checked(
    challenged: Challenged, at: Callable[[str], Client], database: Database
) -> None:
    """Tries are counted atomically."""
    body = {"challenge": challenged.challenge, "code": challenged.wrong_code}
    with ThreadPoolExecutor(6) as guessers:
        statuses = guessers.map(lambda n: at(f"192.0.2.{n}").post("/auth/verify-code", body).status_code, range(6))
        assert list(statuses) == [401] * 6
    assert database.execute("select tries from challenges") == [(5,)]


def test_of_parallel_answers_with_the_right_code_one_signs_in(
    challenged: Challenged, at: Callable[[str], Client]
) -> None:
    """Single use, also at the same time."""
    body = {"challenge": challenged.challenge, "code": challenged.code}
    with ThreadPoolExecutor(4) as guessers:
        statuses = guessers.map(lambda n: at(f"192.0.2.{n}").post("/auth/verify-code", body).status_code, range(4))
        assert sorted(statuses) == [200, 401, 401, 401]


def test_unknown_and_forged_challenges_are_the_same_401(challenged: Challenged, settings: Settings) -> None:
    """Wrong, used, expired, exhausted, unknown challenge: the same `401 invalid_code`."""
    keyring = Keyring(settings.secret_keys)
    for challenge in ("", "x", challenged.challenge[:-1], "é", keyring.sign("cursor:users", "x")):
        assert challenged.status(challenged.code, challenge) == 401
    assert [challenged.status(code) for code in ("", "1234567", "\x00")] == [401] * 3


def test_another_challenges_code_is_wrong(
    challenged: Challenged, client: Client, told: Told, queue: InlineQueue
) -> None:
    first = challenged.code
    other = Challenged(client, queue, told, challenged.person)
    assert other.code != first  # one in a million runs is entitled to fail here
    assert other.status(first) == 401


def test_wrong_codes_count_as_failures(challenged: Challenged, client: Client) -> None:
    """Wrong codes count: the next password is refused."""
    for _ in range(5):
        challenged.status(challenged.wrong_code)
    assert client.sign_in(challenged.person.email).status_code == 429


def test_a_completed_sign_in_forgets_wrong_codes(challenged: Challenged, client: Client) -> None:
    for _ in range(4):
        challenged.status(challenged.wrong_code)
    assert challenged.status(challenged.code) == 200
    assert client.sign_in(challenged.person.email, "wrong password").status_code == 401


def test_an_account_gets_five_challenges_an_hour(client: Client, ada: Person, database: Database) -> None:
    """At most 5 challenges per account and hour (the next login is 429)."""
    assert [client.sign_in(ada.email).status_code for _ in range(6)] == [200] * 5 + [429]
    database.execute("update challenges set created_at = created_at - interval '1 hour'")
    assert client.sign_in(ada.email).status_code == 200


def test_parallel_sign_ins_get_no_more_than_five_challenges(
    ada: Person, at: Callable[[str], Client], database: Database
) -> None:
    with ThreadPoolExecutor(8) as people:
        statuses = people.map(lambda n: at(f"192.0.2.{n}").sign_in(ada.email).status_code, range(8))
        assert sorted(statuses) == [200] * 5 + [429] * 3


def test_another_code_is_sent_after_a_minute_and_takes_the_place_of_the_first(
    challenged: Challenged, database: Database
) -> None:
    """`{"challenge"}` → 202; within a minute of the last: 429."""
    first = challenged.code
    assert challenged.resend() == 429
    database.execute("update challenges set sent_at = sent_at - interval '1 minute'")
    assert challenged.resend() == 202
    assert challenged.resend() == 429
    second = challenged.code
    assert [challenged.status(first), challenged.status(second)] == [401, 200]


def test_too_early_a_resend_says_when(challenged: Challenged, client: Client) -> None:
    answer = client.post("/auth/resend-code", {"challenge": challenged.challenge})
    assert answer.json["code"] == "too_many_attempts"
    assert 0 < int(answer.headers["Retry-After"]) <= 60


def test_a_resent_code_gives_no_new_tries(challenged: Challenged, database: Database) -> None:
    for _ in range(4):
        challenged.status(challenged.wrong_code)
    database.execute("update challenges set sent_at = sent_at - interval '1 minute'")
    challenged.resend()
    assert [challenged.status(challenged.wrong_code), challenged.status(challenged.code)] == [401, 401]


@pytest.mark.parametrize(
    "end",
    [
        "update challenges set expires_at = now()",
        "update challenges set ended_at = now()",
        "update challenges set tries = 5",
        "delete from challenges",
        "update users set is_active = false",
    ],
)
def test_what_is_no_live_challenge_gets_no_code(challenged: Challenged, database: Database, end: str) -> None:
    """Not a live challenge: `401 invalid_code`."""
    database.execute("update challenges set sent_at = sent_at - interval '1 minute'")
    database.execute(end)
    answer = challenged.client.post("/auth/resend-code", {"challenge": challenged.challenge})
    assert (answer.status_code, answer.json["code"]) == (401, "invalid_code")
    assert challenged.status(challenged.code) == 401


def test_a_challenge_does_not_outlive_the_right_to_sign_in(
    challenged: Challenged, bus: Bus, queue: InlineQueue, database: Database
) -> None:
    """Deactivating ends every session at once, and what is about to become one."""
    ordered_by_an_admin(bus, queue, DeactivateUser(challenged.person.id))
    database.set_user(challenged.person.id, is_active=True)
    assert challenged.status(challenged.code) == 401


def test_codes_are_neither_in_the_table_nor_in_a_message(
    challenged: Challenged, queue: InlineQueue, database: Database
) -> None:
    """Stored hashed; no secret is readable in a queue."""
    code = challenged.code
    assert code not in str(database.execute("select code_digest from challenges"))
    assert not any(code in str(envelope.body) for envelope in queue.sent)


def test_the_code_event_is_not_for_the_outside_world(challenged: Challenged, queue: InlineQueue) -> None:
    assert challenged.code
    assert not [name for name, _ in queue.announced if name.startswith("auth.")]


def test_the_password_alone_does_not_forget_earlier_failures(client: Client, ada: Person) -> None:
    for _ in range(4):
        client.sign_in(ada.email, "wrong password")
    assert client.sign_in(ada.email, PASSWORD).status_code == 200
    assert client.sign_in(ada.email, "wrong password").status_code == 401
    assert client.sign_in(ada.email, PASSWORD).status_code == 429
