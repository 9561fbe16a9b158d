"""The roles that an administrator may give to users. To add one: docs/extending/role.md."""

from enum import StrEnum

from backend.kernel.messages import authority


class Role(StrEnum):
    """What a user may do beyond managing their account."""

    ADMIN = authority.ADMIN  # see and change everything
