"""Rules for values that more than one context uses."""

from __future__ import annotations

import re
import unicodedata
from functools import partial
from typing import NewType

import email_validator

from backend.kernel.messages.refusals import FieldError, Invalid

# Only sending a mail shows whether it arrives. Names reserved for tests and intranets are well formed.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159\U00013441\U00013442")
"""Letters and symbols in Unicode that are invisible: fillers, the empty Braille pattern, note and hieroglyphs."""


_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What moves the cursor, breaks the line, or turns the direction of what follows (UAX #9), and unpaired surrogates.

The marks U+200E and U+200F, and the joiners, turn nothing: some languages need them.
"""
_BREAKS = str.maketrans("", "", "\t\n\r")

_MOST_MARKS = 30
TOO_MANY_MARKS = f"Must not have more than {_MOST_MARKS} combining marks in a row."

nfkc = partial(unicodedata.normalize, "NFKC")

_LONGEST_ORDINARY = 64
"""No part of an address of that length is too long."""
_WORDS = "[a-z0-9]+(?:{}[a-z0-9]+)*"
_ORDINARY = re.compile(rf"{_WORDS.format('[._+-]')}@(?:{_WORDS.format('-')}\.)+[a-z]{{2,}}", re.ASCII | re.IGNORECASE)
"""An address that `email-validator` accepts as it stands. To parse it would be a tenth of accepting a registration."""

EmailAddress = NewType("EmailAddress", str)
"""An address that `email_address` has normalized: two are one mailbox if, and only if, they are equal.

A type for the checker only. A class of its own would need a column type and a form in messages, and would be checked
again in the worker, on the way of each registration.
"""


def is_visible(text: str) -> bool:
    """Whether anything is visible: a letter, a number, punctuation or a symbol."""
    return any(unicodedata.category(one)[0] in "LNPS" and one not in _BLANK for one in text)


def heaps_marks(text: str) -> bool:
    """Whether more than 30 combining marks follow each other: no language needs as many (UAX #15, Stream-Safe Text).

    To be asked before a stranger's text is normalized: that takes a time that grows with the square of their number.
    """
    if text.isascii():
        return False
    marks = 0
    for one in text:
        marks = marks + 1 if unicodedata.combining(unicodedata.normalize("NFKD", one)[0]) else 0
        if marks > _MOST_MARKS:
            return True
    return False


def plain_text(text: str, field: str, longest: int, *, shortest: int = 1, breaks: bool = False) -> str:
    """A text for people: NFC, trimmed, without control characters; something of it is visible, unless it may be empty.

    Args:
        longest, shortest: characters.
        breaks: whether it may have tabs and line breaks.

    Raises:
        Invalid: `text` is none.
    """
    if heaps_marks(text):
        raise _invalid(field, TOO_MANY_MARKS)
    trimmed = unicodedata.normalize("NFC", text).strip()
    if not shortest <= len(trimmed) <= longest:
        raise _invalid(field, f"Must have {shortest} to {longest} characters.")
    if shortest and not is_visible(trimmed):
        raise _invalid(field, "Must hold something visible.")
    if _CONTROLS.search(trimmed.translate(_BREAKS) if breaks else trimmed):
        raise _invalid(field, "Must not contain control characters.")
    return trimmed


def escaped(text: str) -> str:
    """The text with its control characters as escapes, so that it stays in its line of a terminal."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def folded(text: str) -> str:
    """The form in which texts are compared without regard to case: NFKC and Unicode's full case folding, which depends
    on no language. So the four letters of Turkish, I, i, \u0130 and \u0131, are one.

    Python folds, never PostgreSQL: its `lower` depends on the locale of the database.
    """
    return nfkc(nfkc(text).casefold().replace("i\u0307", "i").replace("\u0131", "i"))


def email_address(text: str, field: str = "email") -> EmailAddress:
    """The normalized e-mail address: NFC, IDN domain in Unicode, lower case.

    The form follows RFC 5321, RFC 6531 and RFC 5891 as `email-validator` implements them. Lower-casing
    the local part is our rule: two users never have addresses that differ by case only.

    Raises:
        Invalid: `text` is not an e-mail address.
    """
    text = text.strip()
    if len(text) <= _LONGEST_ORDINARY and _ORDINARY.fullmatch(text):
        return EmailAddress(text.lower())
    try:
        found = email_validator.validate_email(text, check_deliverability=False, strict=True)
    except email_validator.EmailNotValidError as error:
        raise _invalid(field, str(error)) from None
    return EmailAddress(address_spelling(found.normalized))


def address_spelling(text: str) -> str:
    """The spelling of an address, or of the beginning of one: NFC, lower case.

    Mail goes to it. So it is not `folded`, which replaces letters: `ß` would become `ss`.
    """
    return unicodedata.normalize("NFC", text).lower()


def _invalid(field: str, detail: str) -> Invalid:
    return Invalid(errors=[FieldError(field, detail)])
