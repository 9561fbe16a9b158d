"""Settings for tests: nothing is read from the environment, nothing is slow on purpose."""

from __future__ import annotations

from typing import Any

from backend.settings import Settings

_DEFAULTS: dict[str, Any] = {
    "app_env": "development",
    "database_url": "postgresql://nowhere.invalid/none",
    "broker_url": "filesystem://",
    "secret_keys": ("test-key-" + "k" * 40,),
    "jwt_algorithm": "HS256",
    "jwt_secret": "test-jwt-" + "j" * 40,
    "jwt_private_key": "",
    "jwt_expire_minutes": 15,
    "mail_url": "file:var/mail",
    "mail_from": "no-reply@example.com",
    "public_url": "http://127.0.0.1:8000",
    "cors_origins": (),
    "trusted_proxies": 0,
    "require_email_verification": False,
    "bcrypt_rounds": 4,
    "log_format": "json",
    "otlp_endpoint": "",
}


def settings_with(**changes: Any) -> Settings:
    """The settings, with some of them changed."""
    values = {**_DEFAULTS, **changes}
    values.setdefault("database_read_url", values["database_url"])
    return Settings(**values)
