"""A user's name and profile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from backend.contexts.users.domain.events import UserCreated, UserUpdated
from backend.contexts.users.domain.user import PersonName, Profile, ProfileChanges, User
from backend.kernel.messages.refusals import Invalid
from backend.kernel.messages.values import email_address

ID = UUID(int=1)
OMAR = PersonName.of_parts("José Omar", "Carrillo", "Vegas")

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def named(name: PersonName) -> User:
    user = User.register(ID, name, email_address("omar@example.com"), "hash", Profile(username="Omar"))
    user.pull_events()
    return user


def names_of(user: User) -> tuple[str | None, ...]:
    return (user.name, user.first_name, user.middle_name, user.last_name)


def test_a_name_is_its_parts_joined_by_single_spaces() -> None:
    assert OMAR.full == "José Omar Carrillo Vegas"
    assert PersonName.of_parts("Ada", None, "Lovelace").full == "Ada Lovelace"


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        (OMAR, {"last_name": "Vega"}, ("José Omar Carrillo Vega", "José Omar", "Carrillo", "Vega")),
        (OMAR, {"middle_name": None}, ("José Omar Vegas", "José Omar", None, "Vegas")),
        (PersonName("Ada Byron"), {"first_name": "Ada"}, ("Ada", "Ada", None, None)),
        (PersonName("Prof. Omar", "Omar"), {"first_name": "Omar"}, ("Prof. Omar", "Omar", None, None)),
        (PersonName("Ada"), {"first_name": None}, ("Ada", None, None, None)),
    ],
)
def test_changing_a_part_recomposes_the_name(before: PersonName, changes: Any, after: tuple[str | None, ...]) -> None:
    user = named(before)
    user.update(changes, NOW)
    assert names_of(user) == after


def test_changing_the_name_clears_the_parts() -> None:
    user = named(OMAR)
    user.update({"name": "Omar"}, NOW)
    assert names_of(user) == ("Omar", None, None, None)


def test_a_name_and_parts_that_come_together_are_taken_as_they_are() -> None:
    user = named(OMAR)
    user.update({"name": "Omar the Great", "first_name": "Omar"}, NOW)
    assert names_of(user) == ("Omar the Great", "Omar", None, None)


def test_clearing_every_part_is_refused_because_no_name_would_be_left() -> None:
    user = named(OMAR)
    with pytest.raises(Invalid):
        user.update({"first_name": None, "middle_name": None, "last_name": None}, NOW)
    assert names_of(user) == ("José Omar Carrillo Vegas", "José Omar", "Carrillo", "Vegas")


def test_parts_that_are_too_long_together_are_refused() -> None:
    with pytest.raises(Invalid):
        named(PersonName.of_parts("A" * 150)).update({"last_name": "B" * 150}, NOW)


def test_only_the_fields_present_change_and_null_clears_one() -> None:
    user = User.register(ID, OMAR, email_address("omar@example.com"), "hash", Profile("Omar", "+34600000000", "M", 26))
    user.update({"age": None, "username": "JOV"}, NOW)
    assert (user.age, user.username, user.username_key) == (None, "JOV", "jov")
    assert (user.phone_number, user.gender, user.name) == ("+34600000000", "M", OMAR.full)


def test_a_change_is_told_once_and_no_change_not_at_all() -> None:
    user = named(OMAR)
    user.update({"gender": "M"}, NOW)
    user.update({"gender": "M"}, NOW)
    assert user.pull_events() == [UserUpdated(ID)]


def test_an_account_that_waits_for_verification_has_no_username_yet() -> None:
    user = User.register(ID, OMAR, email_address("omar@example.com"), "hash", Profile(username="Omar"), pending=True)
    assert (user.username, user.wanted_username) == (None, "Omar")
    assert user.pull_events() == [UserCreated(ID, "omar@example.com", OMAR.full)]


def test_the_command_accepted_last_decides_each_field_whatever_arrives_first() -> None:
    user = named(PersonName("Ada"))
    user.update({"gender": "F", "age": 36}, NOW + timedelta(seconds=2))
    user.update({"gender": "M", "phone_number": "+1234567"}, NOW)
    assert (user.gender, user.age, user.phone_number) == ("F", 36, "+1234567")


def test_a_late_name_does_not_replace_a_part_that_was_changed_after_it() -> None:
    user = named(PersonName.of_parts("Ada", last="Byron"))
    user.update({"last_name": "Lovelace"}, NOW + timedelta(seconds=2))
    user.update({"name": "Countess"}, NOW)
    user.update({"first_name": "Augusta"}, NOW + timedelta(seconds=1))
    assert user.name == "Augusta Lovelace"


def test_a_late_part_does_not_change_a_name_that_was_given_after_it() -> None:
    user = named(PersonName.of_parts("Ada", last="Byron"))
    user.update({"name": "Countess"}, NOW + timedelta(seconds=2))
    user.update({"last_name": "Lovelace"}, NOW)
    assert (user.name, user.last_name) == ("Countess", None)


def test_roles_and_activity_are_those_of_the_command_accepted_last() -> None:
    user = named(PersonName("Ada"))
    user.deactivate(NOW + timedelta(seconds=1))
    user.activate(NOW)
    user.set_roles([], NOW + timedelta(seconds=1))
    user.set_roles(["admin"], NOW)
    assert (user.is_active, user.roles) == (False, [])


@pytest.mark.parametrize(
    ("profile", "wrong"),
    [
        (Profile(username="no"), "username"),
        (Profile(phone_number="12"), "phone_number"),
        (Profile(gender=" "), "gender"),
        (Profile(age=151), "age"),
    ],
)
@pytest.mark.parametrize("pending", [False, True])
def test_no_user_is_made_of_what_breaks_a_rule(profile: Profile, wrong: str, *, pending: bool) -> None:
    with pytest.raises(Invalid) as refused:
        User.register(ID, OMAR, email_address("omar@example.com"), "hash", profile, pending=pending)
    assert [error.field.removeprefix("wanted_") for error in refused.value.errors] == [wrong]


def test_no_user_is_changed_into_what_breaks_a_rule() -> None:
    user = named(OMAR)
    wrong: list[ProfileChanges] = [{"age": -1}, {"username": "no"}, {"first_name": "\u200b"}, {"name": "\u2060"}]
    for changes in wrong:
        with pytest.raises(Invalid):
            user.update(changes, NOW)
    with pytest.raises(Invalid):
        user.set_roles(["owner"], NOW)


def test_a_pending_account_holds_nothing() -> None:
    with pytest.raises(ValueError, match="pending"):
        User(ID, email_address("omar@example.com"), "Omar", None, None, None, "hash", pending=True, email_verified=True)


def test_a_user_has_a_name() -> None:
    with pytest.raises(ValueError, match="name"):
        User(ID, email_address("omar@example.com"), "", None, None, None, "hash")


def test_a_user_shows_neither_hash_nor_address() -> None:
    assert "omar@" not in repr(named(OMAR))
    assert "hash" not in repr(named(OMAR))


@pytest.mark.parametrize("text", ["OMAR@Example.com", " omar@example.com", "omar@EXAMPLE.COM"])
def test_an_address_is_one_value_however_it_is_written(text: str) -> None:
    assert email_address(text) == "omar@example.com"


@pytest.mark.parametrize("text", ["", "omar", "omar@", "@example.com", "omar @example.com"])
def test_what_is_no_address_does_not_become_one(text: str) -> None:
    with pytest.raises(Invalid):
        email_address(text)
