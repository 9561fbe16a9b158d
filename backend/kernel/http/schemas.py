"""marshmallow fields that apply a rule of the domain."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from unicodedata import normalize

import marshmallow as ma

from backend.kernel.messages.refusals import Invalid
from backend.kernel.messages.secret import Secret
from backend.kernel.messages.values import TOO_MANY_MARKS, heaps_marks

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def example(value: object, text: str = "", **constraints: object) -> dict[str, Any]:
    """The documentation of a field: an example value, a description, and what JSON Schema can say of its rule."""
    return {"examples": [value], **({"description": text} if text else {}), **constraints}


class Text(ma.fields.String):
    """A text that a rule of the domain checks and normalizes. It is stored, and searched for, in NFC.

    Args:
        rule: raises Invalid, or returns the normalized text.
    """

    default_error_messages = {  # noqa: RUF012 - marshmallow's
        "unstorable": "Must not contain NUL or unpaired surrogates.",
        "marks": TOO_MANY_MARKS,
    }

    def __init__(self, rule: Callable[[str], str] = str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._rule = rule

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if _UNSTORABLE.search(text):
            raise self.make_error("unstorable")
        if heaps_marks(text):
            raise self.make_error("marks")
        spelled: str = apply_rule(self._rule, normalize("NFC", text))
        return spelled


class SecretText(ma.fields.String):
    """A password, token or code: any characters, masked from here on.

    Args:
        rule: raises Invalid, or returns the text.
    """

    default_error_messages = {"marks": TOO_MANY_MARKS}  # noqa: RUF012 - marshmallow's

    def __init__(self, rule: Callable[[str], str] = str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._rule = rule

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if heaps_marks(text):
            raise self.make_error("marks")
        return Secret(apply_rule(self._rule, text))


class WholeNumber(ma.fields.Integer):
    """A JSON integer: no string, no fraction, no boolean."""

    def __init__(self, rule: Callable[[int], int] = int, **kwargs: Any) -> None:
        super().__init__(strict=True, **kwargs)
        self._rule = rule

    def _validated(self, value: Any) -> int:
        if isinstance(value, str | bool):
            raise self.make_error("invalid", input=value)
        accepted: int = apply_rule(self._rule, super()._validated(value))
        return accepted


class ExactDecimal(ma.fields.String):
    """An exact decimal: a JSON string or number. It is never a float, and never rounded.

    Args:
        rule: of a `str`, `int` or `Decimal`; raises Invalid, or returns the decimal.
    """

    default_error_messages = {"invalid": "Not a decimal: neither a number nor a decimal string."}  # noqa: RUF012 - marshmallow's

    def __init__(self, rule: Callable[[str | int | Decimal], Decimal], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._rule = rule

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise self.make_error("invalid")
        return apply_rule(self._rule, value)


class Flag(ma.fields.Boolean):
    """A JSON boolean: no string and no number."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


def apply_rule(rule: Callable[[Any], Any], value: Any) -> Any:
    """Apply a rule of the domain.

    Raises:
        marshmallow.ValidationError: with the rule's reasons.
    """
    try:
        return rule(value)
    except Invalid as refusal:
        raise ma.ValidationError([error.detail for error in refusal.errors]) from None
