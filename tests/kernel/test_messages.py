"""Messages on the wire: typed again at the other end, and never with a readable secret."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from string import ascii_letters, digits
from typing import Any
from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from msgspec import structs

from backend.kernel.delivery.codec import Codec, Expired, Undecodable
from backend.kernel.delivery.envelope import Envelope, Headers
from backend.kernel.delivery.sealing import Forged, Sealer, UnknownKey, Unsealable
from backend.kernel.keys import BadSignature, Keyring
from backend.kernel.messages.message import Command
from backend.kernel.messages.registry import Handlers, Registry
from backend.kernel.messages.secret import Secret

OLD, NEW = "o" * 40, "n" * 40
ID, MESSAGE = UUID("0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a10"), UUID("0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a11")


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


handlers = Handlers[None]("parcels")


@handlers.on(Post)
def post(command: Post, ports: None) -> None:
    """It only travels here."""


REGISTRY = Registry([handlers])
POST = Post(ID, datetime(2026, 1, 2, tzinfo=UTC), Parcel(Decimal("1.50")), Secret("correct horse"))


class Keys:
    """A process that holds these secret keys."""

    def __init__(self, *secret_keys: str, accept_unsigned: bool = False) -> None:
        self.sealer = Sealer(Keyring(secret_keys), accept_unsigned=accept_unsigned)
        self._codec = Codec(REGISTRY, self.sealer)

    def written(self, **changes: Any) -> Envelope:
        """A message of this process, with some of its body changed before it is signed; None leaves a field out."""
        envelope = self._codec.of_command(POST, MESSAGE)
        body = {name: value for name, value in {**envelope.body, **changes}.items() if value is not None}
        return self.sealer.signed(replace(envelope, body=body))

    def read(self, envelope: Envelope) -> Post:
        return self._codec.decode(Post, delivered(envelope))


def delivered(envelope: Envelope) -> Envelope:
    """The message after its way over the wire."""
    body, headers = json.loads(json.dumps([envelope.body, envelope.headers.as_json()]))
    return replace(envelope, body=body, headers=Headers.parse(headers))


def test_a_message_that_workers_would_refuse_for_its_size_is_not_written() -> None:
    with pytest.raises(ValueError, match=r"parcels\.post has more than 256 KiB"):
        Codec(REGISTRY, Keys(NEW).sealer).of_command(replace(POST, note="x" * 2**18), MESSAGE)


def test_a_message_survives_the_wire() -> None:
    assert Keys(NEW).read(Keys(NEW).written()) == POST


def test_a_secret_is_unreadable_on_the_wire_and_in_every_representation() -> None:
    envelope = Keys(NEW).written()
    for text in (json.dumps(envelope.body), repr(envelope), repr(POST), str(POST), f"{POST.password}"):
        assert "correct horse" not in text
    assert "correct horse" not in repr([POST.password])


def test_a_message_of_the_old_key_is_read_while_the_new_one_is_rolled_in() -> None:
    assert Keys(NEW, OLD).read(Keys(OLD).written()) == POST


def test_a_message_whose_key_this_process_does_not_hold_is_not_called_forged() -> None:
    with pytest.raises(UnknownKey):
        Keys(NEW).read(Keys(OLD).written())


def test_a_message_of_the_next_release_is_read_without_its_new_field() -> None:
    assert Keys(NEW).read(Keys(NEW).written(added_later=1)) == POST


def test_a_message_of_the_last_release_takes_the_defaults() -> None:
    envelope = Keys(NEW).written(note=None)
    assert "note" not in envelope.body
    assert Keys(NEW).read(envelope).note is None


@pytest.mark.parametrize("damage", [{"id": "x"}, {"password": "plain"}, {"password": "sealed:AAAA"}, {"parcel": 1}])
def test_a_message_that_does_not_fit_is_undecodable_and_its_error_quotes_nothing(damage: dict[str, object]) -> None:
    with pytest.raises((Undecodable, UnknownKey)) as raised:
        Keys(NEW).read(Keys(NEW).written(**damage))
    assert not any(str(value) in str(raised.value) for value in damage.values())
    assert raised.value.__cause__ is None


def test_a_message_is_read_in_the_lane_that_its_handler_had_before() -> None:
    """A handler gets another kind while messages wait."""
    assert Keys(NEW).read(replace(Keys(NEW).written(), lane="parcels.mail")) == POST


@pytest.mark.parametrize(
    "alter",
    [
        lambda one: replace(one, id=ID),
        lambda one: replace(one, name="parcels.other"),
        lambda one: replace(one, body={**one.body, "note": "altered"}),
        lambda one: replace(one, headers=structs.replace(one.headers, actor=ID)),
        lambda one: replace(one, headers=structs.replace(one.headers, attempts=0, replay=1)),
        lambda one: replace(one, headers=structs.replace(one.headers, mac="")),
        lambda one: replace(one, headers=structs.replace(one.headers, mac=one.headers.mac[:-4])),
    ],
)
def test_a_message_that_was_altered_on_its_way_is_forged(alter: Callable[[Envelope], Envelope]) -> None:
    with pytest.raises(Forged):
        Keys(NEW).read(alter(Keys(NEW).written()))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_null_is_not_to_be_replaced_by_a_number_that_json_does_not_have(number: float) -> None:
    """Python's parser takes it, and an encoder may write it as null."""
    keys, plain = Keys(NEW), Keys(NEW).written()
    written = keys.sealer.signed(replace(plain, body={**plain.body, "note": None}))
    assert keys.read(written) == POST
    with pytest.raises(Forged):
        keys.read(replace(written, body={**written.body, "note": number}))


def test_a_message_that_nobody_signed_is_taken_only_where_it_is_allowed() -> None:
    written = Keys(NEW).written()
    unsigned = replace(written, headers=structs.replace(written.headers, mac=""))
    assert Keys(NEW, accept_unsigned=True).read(unsigned) == POST
    with pytest.raises(Forged):
        Keys(NEW, accept_unsigned=True).read(replace(written, headers=structs.replace(written.headers, mac="x")))


@pytest.mark.parametrize(
    ("days", "replayed", "expired"), [(28, None, False), (30, None, True), (90, 0, False), (90, 30, True)]
)
def test_a_message_is_read_only_while_the_inbox_remembers_whether_it_took_effect(
    days: int, replayed: int | None, *, expired: bool
) -> None:
    """Somebody recorded it, and publishes it again. What an operator replays counts from then."""
    keys = Keys(NEW)
    written = keys.written()
    replayed_at = "" if replayed is None else _ago(replayed)
    headers = structs.replace(
        written.headers, accepted_at=_ago(days), replay=int(replayed is not None), replayed_at=replayed_at
    )
    recorded = keys.sealer.signed(replace(written, headers=headers))
    if expired:
        with pytest.raises(Expired):
            keys.read(recorded)
    else:
        assert keys.read(recorded) == POST


def _ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def test_a_seal_opens_in_its_own_message_and_field_only() -> None:
    sealer = Keys(NEW).sealer
    sealed = sealer.seal("correct horse", MESSAGE, "parcels.post", "password")
    assert sealer.unseal(sealed, MESSAGE, "parcels.post", "password") == "correct horse"
    for place in (
        (ID, "parcels.post", "password"),
        (MESSAGE, "parcels.other", "password"),
        (MESSAGE, "parcels.post", "pin"),
        (MESSAGE, "parcels.post", ""),
        (MESSAGE, "parcels", "post.password"),
    ):
        with pytest.raises(Unsealable):
            sealer.unseal(sealed, *place)


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


def test_only_the_text_that_was_signed_is_accepted() -> None:
    """The last character of a signature has two bits to spare, and padding may follow it."""
    keyring = Keyring([NEW])
    text = keyring.sign("cursor", [1])
    for other in (f"{text}=", *(text[:-1] + last for last in f"{ascii_letters}{digits}-_" if last != text[-1])):
        with pytest.raises(BadSignature):
            keyring.verify("cursor", other)


def test_a_digest_stays_the_same_while_a_key_is_rolled_in() -> None:
    assert Keyring([NEW, OLD]).digest("idempotency", b"key") == Keyring([OLD]).digest("idempotency", b"key")


def test_a_seal_of_release_0_1_is_opened() -> None:
    """It names neither its key nor its place."""
    (key,) = Keyring((OLD,)).derived("sealing")
    sealed = f"sealed:{Fernet(base64.urlsafe_b64encode(key)).encrypt(b'correct horse').decode()}"
    assert Keys(NEW, OLD).sealer.unseal(sealed, MESSAGE, "parcels.post", "password") == "correct horse"
    with pytest.raises(UnknownKey):
        Keys(NEW).sealer.unseal(sealed, MESSAGE, "parcels.post", "password")


def test_what_was_never_sealed_is_not_opened() -> None:
    with pytest.raises(Unsealable):
        Keys(NEW).sealer.unseal("plain text", MESSAGE, "parcels.post", "password")
