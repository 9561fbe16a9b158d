"""Rules for values that more than one context uses."""

from __future__ import annotations

import unicodedata

import email_validator

from backend.kernel.messages.refusals import FieldError, Invalid

# Only sending a mail shows whether it arrives. Names reserved for tests and intranets are well formed.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols in Unicode that are invisible: fillers and the empty Braille pattern."""


def is_visible(text: str) -> bool:
    """Whether anything is visible: a letter, a number, punctuation or a symbol."""
    return any(unicodedata.category(one)[0] in "LNPS" and one not in _BLANK for one in text)


def email_address(text: str, field: str = "email") -> str:
    """The normalized e-mail address: NFC, IDN domain in Unicode, lower case.

    The form follows RFC 5321, RFC 6531 and RFC 5891 as `email-validator` implements them. Lower-casing
    the local part is our rule: two users never have addresses that differ by case only.

    Raises:
        Invalid: `text` is not an e-mail address.
    """
    try:
        return email_validator.validate_email(text.strip(), check_deliverability=False, strict=True).normalized.lower()
    except email_validator.EmailNotValidError as error:
        raise Invalid(errors=[FieldError(field, str(error))]) from None
