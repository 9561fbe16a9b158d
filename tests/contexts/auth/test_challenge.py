"""The second step of a sign-in: how often, and how long, a mailed code may be tried."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from backend.contexts.auth.domain.challenge import LIFETIME, RESEND_AFTER, TRIES, Challenge

NOW = datetime(2026, 1, 2, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
CODE, WRONG, NEWER = b"code", b"wrong", b"newer"


@pytest.fixture
def challenge() -> Challenge:
    return Challenge.open(UUID(int=1), UUID(int=2), CODE, NOW)


def test_the_fifth_attempt_may_be_right(challenge: Challenge) -> None:
    for _ in range(TRIES - 1):
        assert not challenge.answer(WRONG, NOW)
    assert challenge.answer(CODE, NOW)


def test_after_five_wrong_codes_the_right_one_is_refused(challenge: Challenge) -> None:
    for _ in range(TRIES):
        assert not challenge.answer(WRONG, NOW)
    assert not challenge.answer(CODE, NOW)


def test_the_right_code_is_accepted_once(challenge: Challenge) -> None:
    assert challenge.answer(CODE, NOW)
    assert not challenge.answer(CODE, NOW)


def test_a_code_is_accepted_until_its_time_is_over(challenge: Challenge) -> None:
    assert challenge.is_live(NOW + LIFETIME - INSTANT)
    assert not challenge.is_live(NOW + LIFETIME)


def test_another_code_replaces_the_first_and_adds_neither_attempts_nor_time(challenge: Challenge) -> None:
    later = NOW + RESEND_AFTER
    for _ in range(TRIES - 1):
        challenge.answer(WRONG, NOW)
    challenge.resend(NEWER, later)
    assert challenge.wait_before_resend(later) == RESEND_AFTER
    assert not challenge.answer(CODE, later)
    assert not challenge.answer(NEWER, later)
    assert not challenge.is_live(NOW + LIFETIME)


def test_none_is_made_that_expires_when_its_code_is_sent() -> None:
    with pytest.raises(ValueError, match="outlives"):
        Challenge(UUID(int=1), UUID(int=2), CODE, NOW, NOW, NOW)
