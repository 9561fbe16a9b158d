"""Parsing and validation of bodies and query strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, cast

import marshmallow as ma
import msgspec
from webargs.flaskparser import FlaskParser
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from backend.kernel.http.answers import fail
from backend.kernel.http.api import current
from backend.kernel.http.problems import problem

BODY_LIMIT = 64 * 1024
"""The maximum bytes of a JSON body."""
_JSON: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=Decimal)
"""Fractions are read exactly: as floats, 0.10000000000000000001 and 0.1 would be equal."""


class Parser(FlaskParser):
    """Parses bodies and query strings: 415, 413, 400 and 422, in that order. Unknown fields are refused."""

    DEFAULT_UNKNOWN_BY_LOCATION = {  # noqa: RUF012 - as webargs declares it
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": ma.RAISE,
    }

    def load_json(self, req: Any, schema: ma.Schema) -> Any:
        """The body's JSON value."""
        if req.mimetype != "application/json":
            raise UnsupportedMediaType("The body must be sent as application/json.")
        if (req.content_length or 0) > BODY_LIMIT:
            raise RequestEntityTooLarge
        body = req.get_data(cache=True)
        if len(body) > BODY_LIMIT:
            raise RequestEntityTooLarge
        try:
            return _JSON.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidOperation):
            raise BadRequest("The body is not well-formed JSON in UTF-8.") from None

    def load_querystring(self, req: Any, schema: ma.Schema) -> Any:
        """The query's parameters. A repeated one is refused: reading only one of its values would hide a mistake."""
        repeated = [name for name, values in req.args.lists() if len(values) > 1]
        if repeated:
            invalid([{"parameter": name, "detail": "Must not be given more than once."} for name in repeated])
        return MultiDict(req.args)

    def handle_error(
        self, error: ma.ValidationError, req: Any, schema: ma.Schema, *, error_status_code: Any, error_headers: Any
    ) -> NoReturn:
        """Answer 422 with every reason."""
        ((location, messages),) = cast("Mapping[str, Any]", error.messages).items()
        if location == "query":
            invalid([{"parameter": name.strip("/"), "detail": text} for name, text in _flat(messages)])
        invalid([{"pointer": name, "detail": text} for name, text in _flat(messages)])


def invalid(errors: Sequence[dict[str, str]]) -> NoReturn:
    """End the request with 422 and these errors."""
    fail(problem("validation_failed", 422, current.get().request_id, "Some values are invalid.", errors))


def _flat(messages: Any, path: str = "") -> list[tuple[str, str]]:
    """The nested messages as (JSON pointer, text) pairs (RFC 6901)."""
    if isinstance(messages, Mapping):
        return [
            pair
            for key, inner in messages.items()
            for pair in _flat(inner, path if key == "_schema" else f"{path}/{_escaped(str(key))}")
        ]
    return [(path, str(text)) for text in messages]


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
