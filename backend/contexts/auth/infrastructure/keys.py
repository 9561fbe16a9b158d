"""The keys that sign access tokens: one algorithm, newest key first.

Two keys are in use while one replaces the other: the newest signs, each verifies.
A token names its key (`kid`), so each is tried with one key only.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from backend.contexts.auth.infrastructure.settings import SYMMETRIC_ALGORITHMS, AuthSettings
from backend.kernel.keys import Keyring
from backend.settings import SettingsError

_PEM = re.compile(r"-----BEGIN [^-]+-----.+?-----END [^-]+-----", re.DOTALL)
_KINDS: dict[str, tuple[type[Any], str]] = {
    "EdDSA": (OKPKey, "Ed25519"),
    "ES256": (ECKey, "P-256"),
    "RS256": (RSAKey, ""),
}
_SHORTEST_RSA = 2048


class SigningKeys:
    """The keys of the settings.

    Attributes:
        registry: joserfc's, with this algorithm only.

    Raises:
        SettingsError: a key does not fit the algorithm.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self.algorithm = settings.jwt_algorithm
        self.symmetric = self.algorithm in SYMMETRIC_ALGORITHMS
        self.registry = _registry(self.algorithm)
        keys = _secrets(settings) if self.symmetric else _private_keys(settings)
        if not keys:
            raise SettingsError(f"there is no key for {self.algorithm}")
        self._newest = keys[0]
        self._by_id = {key.kid: key for key in keys}

    @property
    def newest(self) -> Key:
        """The key that signs."""
        return self._newest

    def get(self, key_id: object) -> Key | None:
        """The key with this id."""
        return self._by_id.get(key_id) if isinstance(key_id, str) else None

    def public(self) -> list[dict[str, Any]]:
        """The public keys as JWKs (RFC 7517)."""
        use = {"use": "sig", "alg": self.algorithm}
        return [{**key.as_dict(private=False), **use} for key in self._by_id.values()]


def pem_blocks(text: str) -> list[str]:
    """The PEM blocks (RFC 7468) in a text."""
    return _PEM.findall(text)


def _registry(algorithm: str) -> JWSRegistry:
    # The token's header says `EdDSA`: verifiers support it better than RFC 9864's `Ed25519`, which joserfc recommends.
    model = copy.copy(JWSRegistry.algorithms[algorithm])
    model.security_warning = None
    registry = JWSRegistry(algorithms=[algorithm])
    registry.algorithms = {algorithm: model}  # of this instance only
    return registry


def _secrets(settings: AuthSettings) -> list[Key]:
    secrets = [secret.strip() for secret in settings.jwt_secret.split(",") if secret.strip()]
    # The id is public, so it is derived with a key: a plain hash would help to guess a weak secret.
    return [OctKey.import_key(secret, {"kid": Keyring([secret]).digest("kid", b"").hex()[:16]}) for secret in secrets]


def _private_keys(settings: AuthSettings) -> list[Key]:
    return [_private_key(settings.jwt_algorithm, pem) for pem in pem_blocks(settings.jwt_private_key)]


def _private_key(algorithm: str, pem: str) -> Key:
    kind, curve = _KINDS[algorithm]
    try:
        key: Key = kind.import_key(pem)
        key.ensure_kid()
    except (JoseError, ValueError, TypeError):
        raise SettingsError(f"JWT_PRIVATE_KEY is not a key for {algorithm}") from None
    if not key.is_private:
        raise SettingsError("JWT_PRIVATE_KEY is a public key, which cannot sign")
    if curve and key.as_dict(private=False).get("crv") != curve:
        raise SettingsError(f"JWT_PRIVATE_KEY must be on the curve {curve} for {algorithm}")
    if isinstance(key, RSAKey) and key.private_key and key.private_key.key_size < _SHORTEST_RSA:
        raise SettingsError(f"JWT_PRIVATE_KEY must have {_SHORTEST_RSA} bits or more")
    return key
