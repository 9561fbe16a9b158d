"""The metadata that every table of the program belongs to."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import registry

metadata = sa.MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "pk": "%(table_name)s_pkey",
    }
)
mapper_registry = registry(metadata=metadata)
