"""Refusals of the users context."""

from backend.kernel.messages.refusals import Conflict, FieldError, Invalid, NotFound


class EmailTaken(Conflict):
    """The e-mail address is already registered."""


class UsernameTaken(Conflict):
    """The username is taken. Usernames ignore case."""


class LastAdmin(Conflict):
    """The last active admin cannot be demoted, deactivated or deleted."""


class UserNotFound(NotFound):
    """The user does not exist."""


class InvalidLink(Invalid):
    """The token of a mailed link is forged, expired, revoked or already used. Ask for a new link."""

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("token", "Forged, expired, revoked or already used.")])
