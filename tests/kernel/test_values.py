"""Values that more than one context uses."""

from __future__ import annotations

import email_validator
import hypothesis.strategies as st
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings

from backend.kernel.messages.refusals import Invalid
from backend.kernel.messages.values import address_spelling, email_address, heaps_marks, plain_text

_WORD = st.text("abcXYZ019", min_size=1, max_size=25)
_JOINED = st.lists(
    st.one_of(_WORD, st.sampled_from([*".-_+@ é!\u0130\u212a\u017f", "--", "xn--", "xn--nxa", ".."])), max_size=9
)
_ALMOST = st.builds(
    lambda local, domain, end: f"{''.join(local)}@{''.join(domain)}{end}",
    _JOINED,
    _JOINED,
    st.sampled_from(["", ".com", ".c", ".C0", ".9", ".x--y", ".museum", ".com.", ".com\n", " .com", ".test", ".local"]),
)


@hypothesis_settings(deadline=None, max_examples=400)
@given(_ALMOST)
@example("Ada.Lovelace+news@Mail.Example-Site.org")
@example("a@b.co")
@example("a@" + "b" * 58 + ".co")
@example("a@" + "b" * 64 + ".co")
@example("a" * 57 + "@b.info")
@example("a" * 65 + "@b.co")
@example("a@ab--cd.org")
@example("a@xn--nxa.org")
@example("a@example.123")
@example("a@1.2.com")
@example("K@\u212a.com")
def test_an_ordinary_address_is_what_the_full_parse_says(text: str) -> None:
    """An address that needs no parser is accepted, or refused, as the parser would."""
    assert _ours(text) == _parsed(text)


def _ours(text: str) -> str:
    try:
        return email_address(text)
    except Invalid as refused:
        return " ".join(one.detail for one in refused.errors)


def _parsed(text: str) -> str:
    try:
        parsed = email_validator.validate_email(text.strip(), check_deliverability=False, strict=True)
    except email_validator.EmailNotValidError as error:
        return str(error)
    return address_spelling(parsed.normalized)


@pytest.mark.parametrize("control", "\0\a\n\x1b\x7f\x85\x9b\u2028\u2029\u202a\u202e\u2066\u2069\ud800")
def test_nothing_in_a_line_of_text_moves_what_is_shown_beside_it(control: str) -> None:
    with pytest.raises(Invalid) as refused:
        plain_text(f"Ada{control}King", "name", 200)
    assert [(one.field, one.detail) for one in refused.value.errors] == [
        ("name", "Must not contain control characters.")
    ]


def test_a_line_of_text_is_trimmed_and_composed_and_may_be_of_any_script() -> None:
    assert plain_text("  Cafe\u0301 ", "name", 200) == "Caf\u00e9"
    for text in (
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u05d0\u05d1\u200f!",
        "\U0001f469\u200d\U0001f680",
    ):
        assert plain_text(text, "name", 200) == text


def test_a_text_of_several_lines_may_break_them() -> None:
    assert plain_text("15 inches\n\t8 GB\r\n", "description", 200, breaks=True) == "15 inches\n\t8 GB"
    with pytest.raises(Invalid):
        plain_text("15 inches\u202e8 GB", "description", 200, breaks=True)


@pytest.mark.parametrize("mark", ["\u0301", "\u0301\u0316", "\u0f73", "\uff9e\u0316", "\u05b0\u0591"])
def test_a_heap_of_combining_marks_is_no_text(mark: str) -> None:
    """Some of them, alone or in a compatibility form, count as marks only once they are normalized."""
    assert heaps_marks("a" + mark * 31)
    with pytest.raises(Invalid):
        plain_text("a" + mark * 31, "name", 200)
    assert not heaps_marks("a\u0301" * 500 + "e" + "\u0301\u0316" * 15)
