"""Settings for tests: nothing is read from the environment, nothing is slow on purpose."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from backend.program import CONTEXTS
from backend.settings import Settings

_DEFAULTS: dict[str, Any] = {
    "app_env": "development",
    "database_url": "postgresql://nowhere.invalid/none",
    "broker_url": "filesystem://",
    "secret_keys": ("test-key-" + "k" * 40,),
    "public_url": "http://127.0.0.1:8000",
    "cors_origins": (),
    "trusted_proxies": 0,
    "log_format": "json",
    "otlp_endpoint": "",
    "jwt_algorithm": "HS256",
    "jwt_secret": "test-jwt-" + "j" * 40,
    "jwt_private_key": "",
    "jwt_expire_minutes": 15,
    "mail_url": "file:var/mail",
    "mail_from": "no-reply@example.com",
    "require_email_verification": False,
    "bcrypt_rounds": 4,
    "registrations_per_address": 10_000,
    "registrations": 100_000,
}


def settings_with(**changes: Any) -> Settings:
    """The settings, with some of them changed; those of the contexts by their fields' names, too."""
    values = {**_DEFAULTS, **changes}
    values.setdefault("database_read_url", values["database_url"])
    kinds = [context.settings for context in CONTEXTS if context.settings is not None]
    values["of_contexts"] = tuple(kind(**_of(kind, values)) for kind in kinds)
    return Settings(**_of(Settings, values))


def _of(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    return {field.name: values[field.name] for field in fields(kind) if field.name in values}
