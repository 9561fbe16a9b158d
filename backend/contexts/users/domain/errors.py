"""The ways the users context says no."""

from backend.kernel.messages.refusals import Conflict, Denied, FieldError, Invalid, NotFound


class EmailTaken(Conflict):
    """Another user has this e-mail address."""


class UsernameTaken(Conflict):
    """Another user has this username, perhaps spelled in another case."""


class LastAdmin(Conflict):
    """The last active admin cannot be demoted, deactivated or deleted."""


class UserNotFound(NotFound):
    """There is no such user."""


class WrongPassword(Denied):
    """The present password is another one. The attempt was counted."""


class InvalidLink(Invalid):
    """The token of a mailed link is forged, expired, ended or used. Ask for a new link."""

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("token", "Forged, expired, ended or used.")])
