"""Values that more than one context gives rules to."""

from __future__ import annotations

import email_validator

from backend.kernel.messages.refusals import FieldError, Invalid

# Whether mail arrives is found out by sending it; names reserved for tests and intranets are well formed.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


def email_address(text: str, field: str = "email") -> str:
    """The one spelling of an e-mail address: NFC, IDN domain in Unicode, lower case.

    The form follows RFC 5321, RFC 6531 and RFC 5891 as `email-validator` reads them. Lower-casing
    the local part is our rule: two people never share a mailbox that differs by case alone.

    Raises:
        Invalid: `text` is not an e-mail address.
    """
    try:
        return email_validator.validate_email(text.strip(), check_deliverability=False, strict=True).normalized.lower()
    except email_validator.EmailNotValidError as error:
        raise Invalid(errors=[FieldError(field, str(error))]) from None
