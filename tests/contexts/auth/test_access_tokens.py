"""What an access token is, and everything that is none."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import serialization
from joserfc import jwt
from joserfc.jwk import ECKey, JWKRegistry
from joserfc.jws import JWSRegistry
from uuid_utils.compat import uuid7

from backend import settings as our_settings
from backend.contexts.auth.domain.session import BY_PASSWORD, RefreshToken, Session
from backend.contexts.auth.infrastructure.keys import SigningKeys
from backend.contexts.auth.infrastructure.settings import ASYMMETRIC_ALGORITHMS, SYMMETRIC_ALGORITHMS, AuthSettings
from backend.contexts.auth.infrastructure.tokens import AccessTokens
from backend.kernel.delivery.sealing import Sealer
from backend.kernel.http.caller import InvalidToken
from backend.kernel.keys import Keyring
from backend.program import Program, load_program
from backend.settings import Settings, SettingsError, new_key
from tests.client import Client
from tests.contexts.auth.conftest import Person, access_tokens
from tests.inline import InlineQueue
from tests.settings import settings_with

SECRET = "first-" + "s" * 40
PEMS = {algorithm: new_key(f"jwt-{algorithm}.pem") for algorithm in ASYMMETRIC_ALGORITHMS}


def settings_for(algorithm: str, **changes: Any) -> Settings:
    return settings_with(
        **{"jwt_algorithm": algorithm, "jwt_secret": SECRET, "jwt_private_key": PEMS.get(algorithm, ""), **changes}
    )


def keys_of(settings: Settings) -> SigningKeys:
    return SigningKeys(settings.of(AuthSettings))


def tokens_for(algorithm: str, **changes: Any) -> AccessTokens:
    return access_tokens(settings_for(algorithm, **changes))


def session() -> Session:
    return Session.start(uuid7(), RefreshToken(uuid7(), b"x" * 32), BY_PASSWORD, datetime.now(UTC), "", "")


def part(token: str, index: int) -> dict[str, Any]:
    segment = token.split(".")[index]
    found = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    assert isinstance(found, dict)
    return found


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize("algorithm", SYMMETRIC_ALGORITHMS + ASYMMETRIC_ALGORITHMS)
def test_a_token_says_what_it_was_issued_for_under_every_algorithm(algorithm: str) -> None:
    """`iss, aud, sub, sid, jti, iat, exp, roles, auth_time, amr`, `typ: at+jwt`; the algorithm is fixed by setting."""
    tokens, mine = tokens_for(algorithm), session()
    text = tokens.issue(mine, ("admin",))
    header, claims = part(text, 0), part(text, 1)
    assert (header["typ"], header["alg"]) == ("at+jwt", algorithm)
    assert set(claims) == {"iss", "aud", "sub", "sid", "jti", "iat", "exp", "roles", "gen", "auth_time", "amr"}
    assert claims["exp"] - claims["iat"] in (15 * 60 - 1, 15 * 60)
    assert (claims["auth_time"], claims["amr"]) == (int(mine.authenticated_at.timestamp()), ["pwd"])
    read = tokens.read(text)
    assert (read.sub, read.sid, read.roles, read.gen) == (mine.user_id, mine.id, ("admin",), 1)


def test_no_two_tokens_are_the_same() -> None:
    tokens, mine = tokens_for("HS256"), session()
    assert tokens.read(tokens.issue(mine, ())).jti != tokens.read(tokens.issue(mine, ())).jti


class Forger:
    """Somebody who has one good token, the public keys, and ideas."""

    def __init__(self, algorithm: str) -> None:
        self.tokens = tokens_for(algorithm)
        self.keys = keys_of(settings_for(algorithm))
        self.good = self.tokens.issue(session(), ())
        self.header, self.claims = part(self.good, 0), part(self.good, 1)

    def signed(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """With our own key: what another part of the program might sign."""
        return jwt.encode(
            {**self.header, **header}, {**self.claims, **claims}, self.keys.newest, registry=self.keys.registry
        )

    def refused(self, text: str) -> bool:
        try:
            self.tokens.read(text)
        except InvalidToken:
            return True
        return False


@pytest.fixture(scope="module", params=["HS256", "ES256", "EdDSA", "RS256"])
def forger(request: pytest.FixtureRequest) -> Forger:
    return Forger(request.param)


def test_the_forger_holds_a_good_token(forger: Forger) -> None:
    assert not forger.refused(forger.good)
    assert not forger.refused(forger.signed({}, {}))


@pytest.mark.parametrize("none", ["none", "None", "NONE", "nOnE"])
def test_unsigned_tokens_are_refused(forger: Forger, none: str) -> None:
    """RFC 8725, 2.1: `alg: none`."""
    header = encoded({**forger.header, "alg": none})
    payload = forger.good.split(".")[1]
    assert forger.refused(f"{header}.{payload}.")
    assert forger.refused(f"{header}.{payload}.{forger.good.split('.')[2]}")


@pytest.mark.parametrize("algorithm", ASYMMETRIC_ALGORITHMS)
def test_the_public_key_is_no_hmac_secret(algorithm: str) -> None:
    """RFC 8725, 2.1: HS256 signed with the public key."""
    forger = Forger(algorithm)
    (jwk,) = forger.keys.public()
    pem = (
        serialization.load_pem_private_key(PEMS[algorithm].encode(), None)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    signed = f"{encoded({**forger.header, 'alg': 'HS256'})}.{encoded(forger.claims)}"
    for public in (pem, pem.strip(), json.dumps(jwk).encode()):
        signature = base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), "sha256")).decode().rstrip("=")
        assert forger.refused(f"{signed}.{signature}")


def test_a_key_that_the_token_brings_along_is_not_used(forger: Forger) -> None:
    """RFC 8725, 3.1: `jwk`, `jku`, `x5u` are the sender's word."""
    own = ECKey.generate_key("P-256")
    for extra in (
        {"jwk": own.as_dict(private=False)},
        {"jwk": own.as_dict(private=False), "kid": own.thumbprint()},
        {"jku": "https://attacker.example/jwks.json"},
    ):
        header = {**forger.header, "alg": "ES256", **extra}
        assert forger.refused(jwt.encode(header, forger.claims, own, registry=JWSRegistry(algorithms=["ES256"])))


@pytest.mark.parametrize("key_id", ["", "unknown", "../../dev/null", "' or 1=1", None, 5, ["a"]])
def test_a_key_we_do_not_hold_verifies_nothing(forger: Forger, key_id: object) -> None:
    header = encoded({**forger.header, "kid": key_id})
    assert forger.refused(".".join([header, *forger.good.split(".")[1:]]))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://elsewhere.example"},
        {"aud": ["http://127.0.0.1:8000/api/v1", "x"]},
        {"aud": None},
        {"iss": "https://elsewhere.example"},
        {"exp": 1},
        {"exp": "never"},
        {"exp": True},
        {"exp": None},
        {"iat": 1},
        {"sub": "root"},
        {"sub": None},
        {"sid": None},
        {"gen": None},
        {"gen": "1"},
        {"roles": "admin"},
        {"roles": [1]},
    ],
)
def test_a_token_of_other_claims_is_refused_even_with_our_signature(forger: Forger, claims: dict[str, Any]) -> None:
    """Wrong audience, wrong issuer, expired, or not the shape of an access token."""
    assert forger.refused(forger.signed({}, claims))


@pytest.mark.parametrize("kind", ["JWT", "jwt", "id_token+jwt", "at+JWT ", "", "logout+jwt"])
def test_a_token_of_another_kind_is_refused_even_with_our_signature(forger: Forger, kind: str) -> None:
    """RFC 8725, 3.11: explicit typing."""
    assert forger.refused(forger.signed({"typ": kind}, {}))


def test_a_token_lasts_no_longer_than_tokens_do_now() -> None:
    """A shorter JWT_EXPIRE_MINUTES holds for the tokens issued before as well."""
    long, short = tokens_for("HS256", jwt_expire_minutes=60), tokens_for("HS256", jwt_expire_minutes=1)
    text = long.issue(session(), ())
    assert short.read(text) == long.read(text)
    header, claims = part(text, 0), part(text, 1)
    keys = keys_of(settings_for("HS256"))
    old = jwt.encode(header, {**claims, "iat": claims["iat"] - 120}, keys.newest, registry=keys.registry)
    assert long.read(old).gen == 1
    with pytest.raises(InvalidToken):
        short.read(old)


def test_a_token_does_not_outlive_its_session() -> None:
    """A session ends after 90 days, whatever is refreshed."""
    tokens, mine = tokens_for("HS256"), session()
    mine.created_at -= timedelta(days=90) - timedelta(minutes=1)
    claims = part(tokens.issue(mine, ()), 1)
    assert 0 < claims["exp"] - claims["iat"] <= tokens.expires_in(mine) + 1 <= 61


def test_a_token_of_the_release_before_is_read() -> None:
    tokens, mine = tokens_for("HS256"), session()
    text = tokens.issue(mine, ())
    keys = keys_of(settings_for("HS256"))
    claims = {name: value for name, value in part(text, 1).items() if name not in ("auth_time", "amr")}
    read = tokens.read(jwt.encode(part(text, 0), claims, keys.newest, registry=keys.registry))
    assert (read.auth_time, read.amr) == (0, ())


def test_any_change_of_a_token_is_noticed(forger: Forger) -> None:
    head, payload, signature = forger.good.split(".")
    changed = encoded({**forger.claims, "roles": ["admin"]})
    other = "A" if signature[5] != "A" else "B"
    for text in (
        f"{head}.{changed}.{signature}",
        f"{head}.{payload}.{signature[:5]}{other}{signature[6:]}",
        f"{head}.{payload}",
        f"{head}.{payload}.",
        f"{forger.good}.{signature}",
        f"{head}..{signature}",
    ):
        assert forger.refused(text)


@pytest.mark.parametrize("text", ["", ".", "..", "...", "a.b.c", "é.é.é", "\ud800", "x" * 100_000, "a.b.c.d.e", "\x00"])
def test_what_is_no_token_at_all_is_refused(forger: Forger, text: str) -> None:
    assert forger.refused(text)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_another_secret_or_algorithm_signs_nothing(algorithm: str) -> None:
    """The algorithm is fixed by setting and checked."""
    theirs = tokens_for(algorithm).issue(session(), ())
    for tokens in (tokens_for(algorithm, jwt_secret="another-" + "z" * 40), tokens_for("ES256")):
        with pytest.raises(InvalidToken):
            tokens.read(theirs)
    others = [one for one in SYMMETRIC_ALGORITHMS if one != algorithm]
    for other in others:
        with pytest.raises(InvalidToken):
            tokens_for(other).read(theirs)


class TestRotation:
    """Two keys live while one replaces the other, newest first."""

    @pytest.mark.parametrize("algorithm", ["HS256", "EdDSA"])
    def test_tokens_of_both_keys_are_good_and_the_newest_signs(self, algorithm: str) -> None:
        old = tokens_for(algorithm)
        pem = new_key(f"jwt-{algorithm}.pem")
        secret = "second-" + "t" * 40
        both = tokens_for(algorithm, jwt_secret=f"{secret},{SECRET}", jwt_private_key=pem + PEMS.get(algorithm, ""))
        new = tokens_for(algorithm, jwt_secret=secret, jwt_private_key=pem)
        assert both.read(old.issue(session(), ())).gen == 1
        assert new.read(both.issue(session(), ())).gen == 1
        with pytest.raises(InvalidToken):
            new.read(old.issue(session(), ()))

    @pytest.mark.parametrize(
        ("algorithm", "pem"),
        [("ES256", PEMS["RS256"]), ("EdDSA", PEMS["ES256"]), ("RS256", PEMS["EdDSA"]), ("ES256", ""), ("ES256", "x")],
    )
    def test_a_key_that_does_not_fit_the_algorithm_stops_the_start(self, algorithm: str, pem: str) -> None:
        with pytest.raises(SettingsError):
            keys_of(settings_for(algorithm, jwt_private_key=pem))

    def test_a_public_key_does_not_sign(self) -> None:
        public = ECKey.import_key(PEMS["ES256"]).as_pem(private=False).decode()
        with pytest.raises(SettingsError):
            keys_of(settings_for("ES256", jwt_private_key=public))


class TestPublicKeys:
    """GET /.well-known/jwks.json (root): public keys, when an asymmetric algorithm is set."""

    @pytest.mark.parametrize(
        "settings",
        [{"jwt_algorithm": algorithm, "jwt_private_key": PEMS[algorithm]} for algorithm in ASYMMETRIC_ALGORITHMS],
        indirect=True,
    )
    def test_whoever_fetches_them_can_verify_a_token(self, client: Client, ada: Person, settings: Settings) -> None:
        answer = client.get("/.well-known/jwks.json")
        (key,) = answer.json["keys"]
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(key)
        assert (key["alg"], key["use"]) == (settings.of(AuthSettings).jwt_algorithm, "sig")
        token = client.sign_in(ada.email).json["access_token"]
        assert part(token, 0)["kid"] == key["kid"]
        registry = keys_of(settings).registry
        assert jwt.decode(token, JWKRegistry.import_key(key), registry=registry).claims["sub"] == str(ada.id)

    @pytest.mark.parametrize("settings", [{}, {"jwt_algorithm": "HS512"}], indirect=True)
    def test_there_are_none_where_one_secret_signs_and_verifies(self, client: Client) -> None:
        assert client.get("/.well-known/jwks.json").status_code == 404


class TestValidation:
    """POST /auth/validate-token and GET /auth/verify."""

    def test_a_good_token_is_valid(self, client: Client, ada: Person) -> None:
        """200 `{"is_valid": true, "user_id", "exp"}`, nothing more; anyone may ask."""
        token = client.sign_in(ada.email).json["access_token"]
        valid = {"is_valid": True, "user_id": str(ada.id), "exp": part(token, 1)["exp"]}
        asked = client.post("/auth/validate-token", {"access_token": token})
        own = client.with_token(token).get("/auth/verify")
        assert (asked.status_code, asked.json) == (own.status_code, own.json) == (200, valid)

    def test_a_bad_one_is_not(self, client: Client, ada: Person) -> None:
        """`{"is_valid": false}`; 401 when bad for the presented one."""
        ended = client.sign_in(ada.email).json["access_token"]
        client.with_token(ended).post("/auth/logout")
        for token in (ended, "x", "", ended[:-3]):
            answer = client.post("/auth/validate-token", {"access_token": token})
            assert (answer.status_code, answer.json) == (200, {"is_valid": False})
        assert client.with_token(ended).get("/auth/verify").status_code == 401

    def test_refresh_tokens_and_challenges_are_none(self, client: Client, ada: Person) -> None:
        token = client.sign_in(ada.email).json["refresh_token"]
        assert client.post("/auth/validate-token", {"access_token": token}).json == {"is_valid": False}


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Program]:
    """Start in development; the keys are kept in a directory of the test's own, and no `.env` is read."""
    monkeypatch.setattr(our_settings, "ROOT", tmp_path)
    monkeypatch.setattr(our_settings, "VAR", tmp_path)
    monkeypatch.setattr(our_settings, "DATABASE_URL_FILE", tmp_path / "database-url")
    for name in ("SECRET_KEYS", "JWT_SECRET", "JWT_PRIVATE_KEY", "APP_ENV"):
        monkeypatch.delenv(name, raising=False)
    return load_program


@pytest.mark.parametrize("algorithm", ["HS256", "ES256"])
def test_rotated_keys_of_development_keep_what_the_old_ones_made_good(
    algorithm: str, started: Callable[[], Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`flask keys rotate`, twice over: at the first step a key is known to all, at the second it signs."""
    monkeypatch.setenv("JWT_ALGORITHM", algorithm)
    before = started()
    text = access_tokens(before.settings).issue(session(), ())
    place = uuid7(), "auth.handler", "field"
    sealed = Sealer(Keyring(before.settings.secret_keys)).seal("a secret", *place)
    rotate_keys(before)
    between = started()
    assert keys_of(between.settings).newest.kid == keys_of(before.settings).newest.kid
    rotate_keys(between)
    after = started()
    assert access_tokens(between.settings).read(access_tokens(after.settings).issue(session(), ())).gen == 1
    newer = Sealer(Keyring(after.settings.secret_keys)).seal("a secret", *place)
    assert Sealer(Keyring(between.settings.secret_keys)).unseal(newer, *place) == "a secret"
    assert access_tokens(after.settings).read(text).gen == 1
    assert Sealer(Keyring(after.settings.secret_keys)).unseal(sealed, *place) == "a secret"
    assert keys_of(after.settings).newest.kid != keys_of(before.settings).newest.kid
    rotate_keys(after)
    rotate_keys(started())
    latest = started()
    assert len(latest.settings.secret_keys) == 3
    with pytest.raises(InvalidToken):
        access_tokens(latest.settings).read(text)


def test_a_key_that_the_environment_sets_is_printed_to_be_set_there(
    started: Callable[[], Program], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    output = rotate_keys(started())
    (printed,) = [line for line in output.splitlines() if line.startswith(f"{SECRET},")]
    assert len(printed) > 2 * len(SECRET)
    assert not (tmp_path / "keys" / "jwt-secret").exists()


def rotate_keys(program: Program) -> str:
    result = program.process(InlineQueue()).web().test_cli_runner().invoke(args=["keys", "rotate"])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("algorithm", ASYMMETRIC_ALGORITHMS)
def test_development_makes_and_keeps_a_key_for_any_asymmetric_algorithm(
    algorithm: str, started: Callable[[], Program], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`JWT_PRIVATE_KEY` (PEM; development makes and keeps one under `var/`)."""
    monkeypatch.setenv("JWT_ALGORITHM", algorithm)
    first, second = started(), started()
    text = access_tokens(first.settings).issue(session(), ())
    assert isinstance(access_tokens(second.settings).read(text).sub, UUID)
    assert (tmp_path / "keys" / f"jwt-{algorithm}.pem").stat().st_mode & 0o777 == 0o600
