"""Rules for what operators write. Each rule returns the normalized value."""

from __future__ import annotations

from backend.kernel.messages.values import plain_text

LONGEST_REASON = 500


def reason(text: str, field: str = "reason") -> str:
    """Why something was done: trimmed, 1 to 500 characters, something of it visible, no control characters."""
    return plain_text(text, field, LONGEST_REASON)
