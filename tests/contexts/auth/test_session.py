"""A session: whose refresh token is exchanged, and what an exchanged one is still good for."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from backend.contexts.auth.domain.session import BY_PASSWORD, GRACE, RefreshToken, Session

NOW = datetime(2026, 1, 2, tzinfo=UTC)
FIRST, SECOND, THIRD = (RefreshToken(UUID(int=1), name) for name in (b"first", b"second", b"third"))


@pytest.fixture
def session() -> Session:
    """Its first token was exchanged for the second."""
    session = Session.start(UUID(int=2), FIRST, BY_PASSWORD, NOW, "192.0.2.1", "curl")
    assert session.exchange(FIRST, SECOND, NOW)
    return session


def test_an_exchanged_token_is_good_while_its_answer_may_be_lost(session: Session) -> None:
    assert session.exchange(FIRST, THIRD, NOW + GRACE)
    assert session.last_used_at == NOW + GRACE
    assert session.is_live(NOW + GRACE)


def test_after_that_somebody_has_a_copy(session: Session) -> None:
    assert not session.exchange(FIRST, THIRD, NOW + 2 * GRACE)


def test_a_token_that_the_session_never_had_is_refused(session: Session) -> None:
    assert not session.exchange(THIRD, FIRST, NOW)
