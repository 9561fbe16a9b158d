"""`ProvePassword`: what other contexts learn of a password, and what the time tells."""

from __future__ import annotations

import base64
import hmac
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import bcrypt
import pytest

from backend.contexts.users.application.queries import ProvePassword
from backend.contexts.users.infrastructure.passwords import BcryptHasher
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.keys import Keyring, key_id
from backend.kernel.messages.secret import Secret
from backend.program import Process, Program
from backend.settings import Settings
from tests.client import PASSWORD, Client
from tests.contexts.users.conftest import Person, Register

Sql = Callable[..., Any]
RIGHT, WRONG = Secret(PASSWORD), Secret("wrong password")
CAFE = unicodedata.normalize("NFC", "café au lait")


def hash_of(user: Person, sql: Sql) -> str:
    (found,) = sql("select password_hash from users where id = %s", user.id).fetchone()
    return str(found)


def keep(user: Person, password_hash: str, sql: Sql) -> None:
    sql("update users set password_hash = %s where id = %s", password_hash, user.id)


def hashed_as_typed(settings: Settings, text: str) -> str:
    """As the release before hashed."""
    key = Keyring(settings.secret_keys).derived("password pepper")[0]
    digest = base64.b64encode(hmac.digest(key, text.encode(), "sha256"))
    return key_id(key) + bcrypt.hashpw(digest, bcrypt.gensalt(4)).decode()


def test_the_right_password_is_told_by_its_version(bus: Bus, ada: Person) -> None:
    assert bus.ask(ProvePassword(UUID(ada.id), RIGHT)) == 1
    ada.put("/auth/change-password", {"old_password": PASSWORD, "new_password": "staple of the horse"})
    assert bus.ask(ProvePassword(UUID(ada.id), RIGHT)) is None
    assert bus.ask(ProvePassword(UUID(ada.id), Secret("staple of the horse"))) == 2


def test_a_wrong_password_and_an_account_that_is_not_there_prove_nothing(bus: Bus, ada: Person) -> None:
    assert bus.ask(ProvePassword(UUID(ada.id), WRONG)) is None
    assert bus.ask(ProvePassword(None, RIGHT)) is None
    assert bus.ask(ProvePassword(UUID(int=0), RIGHT)) is None


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each check has cost bcrypt, in iterations."""
    done: list[int] = []
    check = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        done.append(2 ** int(hashed.split(b"$")[2]))
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return done


@pytest.mark.parametrize("typed", ["wrong password", "wrong \N{GREEK SMALL LETTER ALPHA}\N{COMBINING ACUTE ACCENT}"])
def test_each_check_costs_what_the_most_expensive_hash_in_use_does(  # noqa: PLR0913, PLR0917
    bus: Bus, register: Register, sql: Sql, settings: Settings, work: list[int], typed: str
) -> None:
    """Accounts of three costs, one whose key is gone, and none: the same work, so the same time."""
    keyring = Keyring(settings.secret_keys)
    cheap, dear, gone = register(), register(), register()
    keep(dear, BcryptHasher(keyring, rounds=7).hash(RIGHT), sql)
    keep(gone, BcryptHasher(Keyring(["another key " + "x" * 40]), rounds=6).hash(RIGHT), sql)
    costs = set()
    for user_id in (UUID(cheap.id), UUID(dear.id), UUID(gone.id), UUID(int=0), None):
        work.clear()
        assert bus.ask(ProvePassword(user_id, Secret(typed))) is None
        costs.add(sum(work))
    assert costs == {2**7 * (1 if typed.isascii() else 2)}


def test_a_right_password_is_hashed_anew_with_the_present_cost_and_nobody_sees_it(
    bus: Bus, ada: Person, sql: Sql, settings: Settings
) -> None:
    before = ada.get("/users/me")
    keep(ada, BcryptHasher(Keyring(settings.secret_keys), rounds=6).hash(RIGHT), sql)
    assert bus.ask(ProvePassword(UUID(ada.id), WRONG)) is None
    assert "$06$" in hash_of(ada, sql)
    assert bus.ask(ProvePassword(UUID(ada.id), RIGHT)) == 1
    assert "$04$" in hash_of(ada, sql)
    assert bus.ask(ProvePassword(UUID(ada.id), RIGHT)) == 1
    after = ada.get("/users/me")
    assert (after.json, after.headers["ETag"]) == (before.json, before.headers["ETag"])


def test_a_right_password_moves_to_the_newest_key_so_that_the_old_one_can_go(
    ada: Person, process: Process, settings: Settings, sql: Sql
) -> None:
    (old,) = settings.secret_keys
    new = "newer-key-" + "n" * 40
    rotated = _process_with(process, (new, old))
    assert rotated.bus.ask(ProvePassword(UUID(ada.id), RIGHT)) == 1
    rotated.close()
    without = _process_with(process, (new,))
    assert without.bus.ask(ProvePassword(UUID(ada.id), RIGHT)) == 1
    without.close()
    assert process.bus.ask(ProvePassword(UUID(ada.id), RIGHT)) is None


def _process_with(process: Process, secret_keys: tuple[str, ...]) -> Process:
    return Program(replace(process.settings, secret_keys=secret_keys), process.program.contexts).process(process.queue)


def test_a_password_is_right_however_its_characters_are_written(bus: Bus, register: Register) -> None:
    """Keyboards and systems write é in one character or two."""
    spellings = {CAFE, unicodedata.normalize("NFD", CAFE)}
    for registered in spellings:
        person = register(password=registered)
        assert {bus.ask(ProvePassword(UUID(person.id), Secret(typed))) for typed in spellings} == {1}
    assert bus.ask(ProvePassword(UUID(person.id), Secret("cafe au lait"))) is None


@pytest.mark.parametrize("text", [unicodedata.normalize("NFD", CAFE), "\N{LATIN SMALL LIGATURE FI}ne wine"])
def test_a_password_hashed_as_it_was_typed_is_right_and_hashed_anew_in_the_one_spelling(
    bus: Bus, ada: Person, settings: Settings, sql: Sql, text: str
) -> None:
    keep(ada, hashed_as_typed(settings, text), sql)
    composed = Secret(unicodedata.normalize("NFKC", text))
    assert bus.ask(ProvePassword(UUID(ada.id), composed)) is None
    assert bus.ask(ProvePassword(UUID(ada.id), Secret(text))) == 1
    assert bus.ask(ProvePassword(UUID(ada.id), composed)) == 1


def test_lengths_and_common_passwords_are_judged_in_the_one_spelling(visitor: Client) -> None:
    body = {"name": "Ada", "email": "ada@example.com"}
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in "password1")
    for refused in (wide, unicodedata.normalize("NFD", "éééé")):
        answer = visitor.post("/users", {**body, "password": refused})
        assert [error["pointer"] for error in answer.json["errors"]] == ["/password"]
    decomposed = unicodedata.normalize("NFD", "é" * 128)
    accepted = visitor.post("/users", {**body, "password": decomposed, "confirm_password": "é" * 128})
    assert accepted.status_code == 201, accepted.json
