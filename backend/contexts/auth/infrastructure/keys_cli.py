"""`flask keys …`: rotate the keys."""

from __future__ import annotations

import os

import click
from flask.cli import AppGroup

from backend.contexts.auth.infrastructure.keys import pem_blocks
from backend.contexts.auth.infrastructure.settings import SYMMETRIC_ALGORITHMS, AuthSettings
from backend.kernel.http.api import api
from backend.settings import Settings, keep_key, new_key
from backend.settings_checks import COMING

keys = AppGroup("keys", help="Keys that sign and seal: rotate.")


@keys.command("rotate")
def rotate() -> None:
    """Introduce a new key for signing and sealing, in two steps.

    The first call adds a key that verifies and opens only. Restart every process. The second call lets the key sign
    and seal. Restart every process again. So no process meets what it cannot verify, in whatever order they restart.

    In development the keys are written under var/. Where the environment sets the keys, the new value is printed.
    The previous key stays valid, because what it signed is still in use. Two JWT keys are kept. No secret key is
    dropped, because password hashes depend on them until their owners sign in: `flask users hashes` counts those.
    """
    settings = api().settings
    second = any(key.startswith(COMING) for key in settings.secret_keys)
    rotated = _used(settings) if second else _added(settings)
    for variable, (name, content) in rotated.items():
        if os.environ.get(variable) or os.environ.get(f"{variable}_FILE"):
            click.echo(f"Set {variable} to:\n{content}\n")
        else:
            keep_key(name, content, replace=True)
            click.echo(f"{variable}: wrote var/keys/{name}")

    click.echo(f"Step {2 if second else 1} of 2. Restart every process{'' if second else ', then run this again'}.")


def _added(settings: Settings) -> dict[str, tuple[str, str]]:
    """For each variable, the name of its file in development and the new content: with a key that does not sign yet."""
    name = "secret-key"
    jwt_name, separator, (current, *_) = _jwt_keys(settings)
    return {
        "SECRET_KEYS": (name, ",".join([*settings.secret_keys, f"{COMING}{new_key(name)}"])),
        _jwt_variable(settings): (jwt_name, separator.join([current, new_key(jwt_name)])),
    }


def _used(settings: Settings) -> dict[str, tuple[str, str]]:
    """The same with the added keys first: they sign."""
    coming = [key.removeprefix(COMING) for key in settings.secret_keys if key.startswith(COMING)]
    rest = [key for key in settings.secret_keys if not key.startswith(COMING)]
    jwt_name, separator, (current, *added) = _jwt_keys(settings)
    return {
        "SECRET_KEYS": ("secret-key", ",".join([*coming, *rest])),
        _jwt_variable(settings): (jwt_name, separator.join([*added[:1], current])),
    }


def _jwt_variable(settings: Settings) -> str:
    symmetric = settings.of(AuthSettings).jwt_algorithm in SYMMETRIC_ALGORITHMS
    return "JWT_SECRET" if symmetric else "JWT_PRIVATE_KEY"


def _jwt_keys(settings: Settings) -> tuple[str, str, list[str]]:
    """The name of their file, what separates them, and the keys."""
    own = settings.of(AuthSettings)
    if own.jwt_algorithm in SYMMETRIC_ALGORITHMS:
        return "jwt-secret", ",", own.jwt_secret.split(",")
    return f"jwt-{own.jwt_algorithm}.pem", "\n", pem_blocks(own.jwt_private_key)
