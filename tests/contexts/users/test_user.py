"""A user's name and profile."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from backend.contexts.users.domain.events import UserCreated, UserUpdated
from backend.contexts.users.domain.user import PersonName, Profile, User
from backend.kernel.messages.refusals import Invalid

ID = UUID(int=1)
OMAR = PersonName.of_parts("José Omar", "Carrillo", "Vegas")


def named(name: PersonName) -> User:
    user = User.register(ID, name, "omar@example.com", "hash", Profile(username="Omar"))
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
    user.update(changes)
    assert names_of(user) == after


def test_changing_the_name_clears_the_parts() -> None:
    user = named(OMAR)
    user.update({"name": "Omar"})
    assert names_of(user) == ("Omar", None, None, None)


def test_a_name_and_parts_that_come_together_are_taken_as_they_are() -> None:
    user = named(OMAR)
    user.update({"name": "Omar the Great", "first_name": "Omar"})
    assert names_of(user) == ("Omar the Great", "Omar", None, None)


def test_clearing_every_part_is_refused_because_no_name_would_be_left() -> None:
    user = named(OMAR)
    with pytest.raises(Invalid):
        user.update({"first_name": None, "middle_name": None, "last_name": None})
    assert names_of(user) == ("José Omar Carrillo Vegas", "José Omar", "Carrillo", "Vegas")


def test_parts_that_are_too_long_together_are_refused() -> None:
    with pytest.raises(Invalid):
        named(PersonName.of_parts("A" * 150)).update({"last_name": "B" * 150})


def test_only_the_fields_present_change_and_null_clears_one() -> None:
    user = User.register(ID, OMAR, "omar@example.com", "hash", Profile("Omar", "+34600000000", "M", 26))
    user.update({"age": None, "username": "JOV"})
    assert (user.age, user.username, user.username_key) == (None, "JOV", "jov")
    assert (user.phone_number, user.gender, user.name) == ("+34600000000", "M", OMAR.full)


def test_a_change_is_told_once_and_no_change_not_at_all() -> None:
    user = named(OMAR)
    user.update({"gender": "M"})
    user.update({"gender": "M"})
    assert user.pull_events() == [UserUpdated(ID)]


def test_an_account_that_waits_for_verification_has_no_username_yet() -> None:
    user = User.register(ID, OMAR, "omar@example.com", "hash", Profile(username="Omar"), pending=True)
    assert (user.username, user.wanted_username) == (None, "Omar")
    assert user.pull_events() == [UserCreated(ID, "omar@example.com", OMAR.full)]
