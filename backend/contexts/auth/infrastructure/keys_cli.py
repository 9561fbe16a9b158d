"""`flask keys …`: rotate the keys."""

from __future__ import annotations

import os

import click
from flask.cli import AppGroup

from backend.contexts.auth.infrastructure.keys import pem_blocks
from backend.contexts.auth.infrastructure.settings import SYMMETRIC_ALGORITHMS, AuthSettings
from backend.kernel.http.api import api
from backend.settings import Settings, keep_key, new_key

keys = AppGroup("keys", help="Keys that sign and seal: rotate.")


@keys.command("rotate")
def rotate() -> None:
    """Put a new key in front of those that sign and seal.

    In development the new key is written under var/. Where the environment sets the keys, the new value is printed.
    Then restart every process, API processes last. The previous key stays valid, because what it signed is still in
    use. Two JWT keys are kept. No secret key is dropped, because password hashes depend on them until their owners sign
    in: `flask users hashes` counts those.
    """
    for variable, (name, content) in _rotated(api().settings).items():
        if os.environ.get(variable) or os.environ.get(f"{variable}_FILE"):
            click.echo(f"Set {variable} to:\n{content}\n")
        else:
            keep_key(name, content, replace=True)
            click.echo(f"{variable}: wrote var/keys/{name}")


def _rotated(settings: Settings) -> dict[str, tuple[str, str]]:
    """For each variable, the name of its file in development and the new content."""
    name = "secret-key"
    rotated = {"SECRET_KEYS": (name, ",".join([new_key(name), *settings.secret_keys]))}
    own = settings.of(AuthSettings)
    if own.jwt_algorithm in SYMMETRIC_ALGORITHMS:
        name = "jwt-secret"
        newest, *_ = own.jwt_secret.split(",")
        rotated["JWT_SECRET"] = name, f"{new_key(name)},{newest}"
    else:
        name = f"jwt-{own.jwt_algorithm}.pem"
        newest, *_ = pem_blocks(own.jwt_private_key)
        rotated["JWT_PRIVATE_KEY"] = name, f"{new_key(name)}{newest}\n"
    return rotated
