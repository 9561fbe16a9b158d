"""The settings of mail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from backend.settings import Environment


@dataclass(frozen=True, repr=False)
class MailSettings:
    """Where mail goes, and from whom."""

    mail_url: str
    """`smtp://user:password@host:port`, `smtps://…`, or `file:directory`: one `.eml` each."""
    mail_from: str

    @classmethod
    def load(cls, environment: Environment) -> Self:
        """From the environment."""
        env = environment.read
        mail_url = env.str("MAIL_URL", "file:var/mail" if environment.developing else "")
        return cls(mail_url, env.str("MAIL_FROM", "no-reply@example.com"))

    def problems(self, *, production: bool) -> Iterator[str]:
        """Why the program must not start with them."""
        if self.mail_url and not self.mail_url.startswith(("smtp://", "smtps://", "file:")):
            yield "MAIL_URL must begin with smtp://, smtps:// or file:"
        if production and not self.mail_url:
            yield "MAIL_URL is missing"
