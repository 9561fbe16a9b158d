"""openapi/changes.py: which changes of the HTTP API break the clients of the last release."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from backend.settings import ROOT

Change = Callable[[dict[str, Any]], object]


def _script() -> ModuleType:
    found = spec_from_file_location("changes", ROOT / "openapi/changes.py")
    assert found
    assert found.loader
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


changes = _script()
RELEASED: dict[str, Any] = {
    "components": {
        "schemas": {
            "NewNote": {
                "required": ["text"],
                "properties": {
                    "text": {"type": "string", "maxLength": 100},
                    "kind": {"type": "string", "enum": ["plain", "rich"]},
                },
            },
            "Note": {
                "required": ["id", "text"],
                "properties": {
                    "id": {"type": "string"},
                    "text": {"type": "string"},
                    "kind": {"type": "string", "enum": ["plain", "rich"]},
                },
            },
            "Operation": {"required": ["id"], "properties": {"id": {"type": "string"}}},
            "Problem": {"required": ["code"], "properties": {"code": {"type": "string", "enum": ["invalid"]}}},
        }
    },
    "paths": {
        "/notes": {
            "post": {
                "parameters": [{"name": "draft", "in": "query", "schema": {"type": "boolean", "maximum": 3}}],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewNote"}}},
                },
                "responses": {
                    "201": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Note"}}}},
                    "202": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Operation"}}}},
                    "422": {
                        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
                    },
                },
                "security": [{"bearer": []}],
            },
            "get": {"responses": {"200": {"description": "All."}}, "security": [{}, {"bearer": []}]},
        }
    },
}


def asked(document: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = document["components"]["schemas"]["NewNote"]
    return fields


def answered(document: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = document["components"]["schemas"]["Note"]
    return fields


def post(document: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = document["paths"]["/notes"]["post"]
    return operation


def get(document: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = document["paths"]["/notes"]["get"]
    return operation


BREAKING: dict[str, Change] = {
    "GET /notes: removed": lambda now: now["paths"]["/notes"].pop("get"),
    "POST /notes: parameter draft in query removed": lambda now: post(now)["parameters"].clear(),
    "POST /notes: parameter page in query new": lambda now: post(now)["parameters"].append(
        {"name": "page", "in": "query", "required": True}
    ),
    "POST /notes: parameter draft in query is required now": lambda now: post(now)["parameters"][0].update(
        required=True
    ),
    "POST /notes: parameter draft in query: type boolean is string now": lambda now: post(now)["parameters"][0][
        "schema"
    ].update(type="string"),
    "POST /notes: parameter draft in query: maximum is 2 now": lambda now: post(now)["parameters"][0]["schema"].update(
        maximum=2
    ),
    "POST /notes: body: field kind removed": lambda now: asked(now)["properties"].pop("kind"),
    "POST /notes: body: field kind is required now": lambda now: asked(now)["required"].append("kind"),
    "POST /notes: body: field author new": lambda now: (
        asked(now)["properties"].update(author={"type": "string"}),
        asked(now)["required"].append("author"),
    ),
    "POST /notes: body: field text: maxLength is 50 now": lambda now: asked(now)["properties"]["text"].update(
        maxLength=50
    ),
    "POST /notes: body: field text: type string is integer now": lambda now: asked(now)["properties"]["text"].update(
        type="integer"
    ),
    "POST /notes: body: field kind: values removed: rich": lambda now: asked(now)["properties"]["kind"].update(
        enum=["plain"]
    ),
    "POST /notes: answer 201 removed": lambda now: post(now)["responses"].pop("201"),
    "POST /notes: answer 201: field kind removed": lambda now: answered(now)["properties"].pop("kind"),
    "POST /notes: answer 201: field text is optional now": lambda now: answered(now)["required"].remove("text"),
    "GET /notes: a token is required now": lambda now: get(now).update(security=[{"bearer": []}]),
    "GET /notes: body: is required now": lambda now: get(now).update(
        requestBody={"required": True, "content": {"application/json": {"schema": {}}}}
    ),
}
HARMLESS: dict[str, Change] = {
    "DELETE /notes: new": lambda now: now["paths"]["/notes"].update(delete={"responses": {}}),
    "POST /notes: parameter page in query new": lambda now: post(now)["parameters"].append(
        {"name": "page", "in": "query"}
    ),
    "POST /notes: parameter draft in query: maximum is 4 now": lambda now: post(now)["parameters"][0]["schema"].update(
        maximum=4
    ),
    "POST /notes: body: field author new": lambda now: asked(now)["properties"].update(author={"type": "string"}),
    "POST /notes: body: field text is optional now": lambda now: asked(now)["required"].remove("text"),
    "POST /notes: body: field text: maxLength is 200 now": lambda now: asked(now)["properties"]["text"].update(
        maxLength=200
    ),
    "POST /notes: body: field text: maxLength is None now": lambda now: asked(now)["properties"]["text"].pop(
        "maxLength"
    ),
    "POST /notes: body: field kind: values new: math": lambda now: asked(now)["properties"]["kind"]["enum"].append(
        "math"
    ),
    "POST /notes: answer 200 new": lambda now: post(now)["responses"].update({"200": {"description": "Seen."}}),
    "POST /notes: answer 422 removed": lambda now: post(now)["responses"].pop("422"),
    "POST /notes: answer 201: field author new": lambda now: answered(now)["properties"].update(
        author={"type": "string"}
    ),
    "POST /notes: answer 201: field kind is required now": lambda now: answered(now)["required"].append("kind"),
    "POST /notes: answer 201: field kind: values removed: rich": lambda now: answered(now)["properties"]["kind"].update(
        enum=["plain"]
    ),
    "POST /notes: answer 422: field code: values new: busy": lambda now: now["components"]["schemas"]["Problem"][
        "properties"
    ]["code"]["enum"].append("busy"),
    "POST /notes: no token is required now": lambda now: post(now).update(security=[]),
}


@pytest.mark.parametrize("text", BREAKING)
def test_this_breaks_a_client(text: str) -> None:
    assert found(BREAKING[text]) == {(True, text)}


@pytest.mark.parametrize("text", HARMLESS)
def test_this_breaks_no_client(text: str) -> None:
    assert found(HARMLESS[text]) == {(False, text)}


def found(change: Change) -> set[tuple[bool, str]]:
    now = deepcopy(RELEASED)
    change(now)
    return set(changes.changes_between(RELEASED, now))


def test_texts_examples_and_names_of_schemas_are_no_change() -> None:
    now = json.loads(json.dumps(RELEASED).replace("NewNote", "NoteToMake"))
    now["paths"]["/notes"]["post"]["description"] = "Makes a note."
    asked_now = now["components"]["schemas"]["NoteToMake"]["properties"]
    asked_now["text"]["examples"] = ["Milk"]
    assert set(changes.changes_between(RELEASED, now)) == set()


def test_the_alternatives_of_an_answer_count_as_one(tmp_path: Path) -> None:
    now = deepcopy(RELEASED)
    schema = {"oneOf": [{"$ref": "#/components/schemas/Note"}, {"$ref": "#/components/schemas/Operation"}]}
    post(now)["responses"]["201"]["content"]["application/json"]["schema"] = schema
    assert set(changes.changes_between(RELEASED, now)) == {
        (True, "POST /notes: answer 201: field text is optional now")
    }


def test_the_document_of_the_last_release_is_kept() -> None:
    released = json.loads((ROOT / "openapi/released.json").read_text())
    assert set(changes.changes_between(released, released)) == set()
    assert len(released["paths"]) > 20
