"""Rules for the fields of a profile and for passwords. Each rule returns the normalized value."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from backend.kernel.messages.refusals import FieldError, Invalid
from backend.kernel.messages.values import plain_text

PASSWORD_FORM: Final = "NFKC"  # noqa: S105 - a Unicode form
_USERNAME = re.compile(r"[A-Za-z0-9_.-]{3,32}")
_PHONE = re.compile(r"\+[0-9]{7,15}")
_SHORTEST_PASSWORD = 8
_LONGEST_PASSWORD = 128
_LONGEST_NAME = 200
_LONGEST_GENDER = 32
_OLDEST = 150


def person_name(text: str, field: str = "name") -> str:
    """A name: trimmed, 1 to 200 characters, something of it visible, no control characters."""
    return plain_text(text, field, _LONGEST_NAME)


def username(text: str, field: str = "username") -> str:
    """A username: 3 to 32 ASCII letters, digits, `_`, `.` or `-`."""
    if not _USERNAME.fullmatch(text):
        raise _invalid(field, "Must have 3 to 32 characters from A-Z, a-z, 0-9, '_', '.' and '-'.")
    return text


def phone_number(text: str, field: str = "phone_number") -> str:
    """A phone number in the form of E.164: `+` and 7 to 15 digits."""
    if not _PHONE.fullmatch(text):
        raise _invalid(field, "Must be '+' followed by 7 to 15 digits (E.164).")
    return text


def gender(text: str, field: str = "gender") -> str:
    """Free text: trimmed, 1 to 32 characters, something of it visible, no control characters."""
    return plain_text(text, field, _LONGEST_GENDER)


def age(years: int, field: str = "age") -> int:
    """Completed years, 0 to 150."""
    if not 0 <= years <= _OLDEST:
        raise _invalid(field, f"Must be 0 to {_OLDEST}.")
    return years


def password(text: str, unlike: Iterable[str | None] = (), field: str = "password") -> str:
    """A password, as in NIST SP 800-63B: a length, no composition rules, not a common one.

    Args:
        unlike: what it must not equal, ignoring case: the user's e-mail, username and name.
    """
    spelled = unicodedata.normalize(PASSWORD_FORM, text)
    if not _SHORTEST_PASSWORD <= len(spelled) <= _LONGEST_PASSWORD:
        raise _invalid(field, f"Must have {_SHORTEST_PASSWORD} to {_LONGEST_PASSWORD} characters.")
    folded = spelled.casefold()
    if folded in _common_passwords():
        raise _invalid(field, "This is one of the most common passwords.")
    if folded in {password_spelling(one).casefold() for one in unlike if one}:
        raise _invalid(field, "Must not be your e-mail address, username or name.")
    return spelled


def password_spelling(text: str) -> str:
    """The one spelling of a password (NFKC): keyboards and systems differ in how they write the same characters."""
    return unicodedata.normalize(PASSWORD_FORM, text)


@cache
def _common_passwords() -> frozenset[str]:
    return frozenset(Path(__file__).with_name("common_passwords.txt").read_text(encoding="utf-8").split())


def _invalid(field: str, detail: str) -> Invalid:
    return Invalid(errors=[FieldError(field, detail)])
