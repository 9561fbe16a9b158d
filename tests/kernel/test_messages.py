"""Messages on the wire: typed again at the other end, and never with a readable secret."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from backend.kernel.delivery.codec import Codec, Undecodable
from backend.kernel.delivery.sealing import Unsealable
from backend.kernel.keys import BadSignature, Keyring
from backend.kernel.messages.message import Command
from backend.kernel.messages.secret import Secret

OLD, NEW = "o" * 40, "n" * 40
ID = UUID("0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a10")


@dataclass(frozen=True)
class Parcel:
    weight: Decimal


@dataclass(frozen=True)
class Post(Command):
    id: UUID
    at: datetime
    parcel: Parcel
    password: Secret
    note: str | None = None


POST = Post(ID, datetime(2026, 1, 2, tzinfo=UTC), Parcel(Decimal("1.50")), Secret("correct horse"))


def test_a_message_survives_the_wire() -> None:
    codec = Codec(Keyring([NEW]))
    assert codec.decode(Post, json.loads(json.dumps(codec.encode(POST)))) == POST


def test_a_secret_is_unreadable_on_the_wire_and_in_every_representation() -> None:
    wire = json.dumps(Codec(Keyring([NEW])).encode(POST))
    for text in (wire, repr(POST), str(POST), f"{POST.password}", repr([POST.password])):
        assert "correct horse" not in text


def test_a_message_sealed_with_the_old_key_is_read_while_the_new_one_is_rolled_in() -> None:
    wire = Codec(Keyring([OLD])).encode(POST)
    assert Codec(Keyring([NEW, OLD])).decode(Post, wire) == POST


def test_a_message_whose_key_is_gone_is_undecodable() -> None:
    wire = Codec(Keyring([OLD])).encode(POST)
    with pytest.raises(Undecodable):
        Codec(Keyring([NEW])).decode(Post, wire)


def test_a_message_of_the_next_release_is_read_without_its_new_field() -> None:
    codec = Codec(Keyring([NEW]))
    assert codec.decode(Post, {**codec.encode(POST), "added_later": 1}) == POST


def test_a_message_of_the_last_release_takes_the_defaults() -> None:
    codec = Codec(Keyring([NEW]))
    wire = codec.encode(POST)
    del wire["note"]
    assert codec.decode(Post, wire).note is None


@pytest.mark.parametrize("damage", [{"id": "x"}, {"password": "plain"}, {"password": "sealed:AAAA"}, {"parcel": 1}])
def test_a_damaged_message_is_undecodable_and_its_error_quotes_nothing(damage: dict[str, object]) -> None:
    codec = Codec(Keyring([NEW]))
    with pytest.raises(Undecodable) as raised:
        codec.decode(Post, {**codec.encode(POST), **damage})
    assert str(raised.value) == "the body is not a Post"
    assert raised.value.__cause__ is None


def test_what_is_signed_for_one_purpose_proves_nothing_for_another() -> None:
    keyring = Keyring([NEW])
    token = keyring.sign("cursor", [1])
    assert keyring.verify("cursor", token) == [1]
    with pytest.raises(BadSignature):
        keyring.verify("operation", token)


@pytest.mark.parametrize("change", [lambda text: text[:-1], lambda text: "x" + text, lambda _: "", lambda _: "é"])
def test_a_changed_signature_is_refused(change: object) -> None:
    keyring = Keyring([NEW])
    with pytest.raises(BadSignature):
        keyring.verify("cursor", change(keyring.sign("cursor", [1])))  # type: ignore[operator]


def test_a_digest_stays_the_same_while_a_key_is_rolled_in() -> None:
    assert Keyring([NEW, OLD]).digest("idempotency", b"key") == Keyring([OLD]).digest("idempotency", b"key")


def test_what_was_never_sealed_is_not_opened() -> None:
    with pytest.raises(Unsealable):
        Keyring([NEW]).unseal("plain text")
