"""The OpenAPI document against the program: requests made from the one, the other's answers compared with it.

Schemathesis makes the requests, well-formed and ill-formed, from a fixed seed. Nothing here names the routes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, CheckContext, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from backend.kernel.http.caller import Caller, InvalidToken
from backend.program import Program
from tests.document import undescribed
from tests.inline import InlineQueue
from tests.settings import settings_with

# Schemathesis, and what it is made of, warn of things that are not ours.
pytestmark = pytest.mark.filterwarnings("default")


def description(_context: CheckContext, response: Response, case: Case[Any]) -> None:
    """Every status, header and code is in the document. schemathesis' own checks take `default` for any status, and
    accept other headers.
    """
    code = response.json()["code"] if response.status_code >= 400 else None
    name = case.operation.definition.raw["operationId"]
    others = undescribed(case.operation.schema.raw_schema, name, response.status_code, response.headers, code)
    assert not others, f"not in the document: {', '.join(sorted(others))}"


CHECKS = [
    description,
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ADMIN = {"Authorization": "Bearer of-the-admin"}


class World:
    """A running API with an administrator, and one of everything that can be created.

    Attributes:
        ids: by the name of a path's parameter.
    """

    def __init__(self, database_url: str, mail: Path) -> None:
        settings = settings_with(database_url=database_url, mail_url=f"file:{mail}")
        self.queue = InlineQueue()
        self.process = self.queue.process = Program(settings).process(self.queue)
        self.app = self.process.web(self._authenticate)
        self._admin = self._sworn_in()
        document = self.app.test_client().get("/openapi.json").get_json()
        self.ids = {name: self._made(path, body) for name, path, body in _creatable(document)}

    def close(self) -> None:
        """End it; raises what went wrong behind the API, where no client sees it."""
        try:
            self.queue.drain()
        finally:
            self.queue.close()
            self.process.close()

    def _authenticate(self, token: str) -> Caller:
        if token != "of-the-admin":
            raise InvalidToken
        return Caller(self._admin, UUID(int=7), ("admin",))

    def _sworn_in(self) -> UUID:
        done = self.app.test_cli_runner().invoke(
            args=["users", "create-admin", "--email", "root@example.com", "--name", "Root"],
            env={"ADMIN_PASSWORD": "an admin's pass phrase"},
        )
        assert done.exit_code == 0, done.output
        return UUID(done.output.split()[0])

    def _made(self, path: str, body: dict[str, Any]) -> str:
        answer = self.app.test_client().post(path, json=body, headers={**ADMIN, "Prefer": "wait=5"})
        assert answer.status_code == 201, answer.text
        return str(answer.json["id"])


def _creatable(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What a POST to a collection makes, as the path of the item names it, with the body that the document shows."""
    for path in document["paths"]:
        collection, _, item = path.rpartition("/")
        post = document["paths"].get(collection, {}).get("post")
        if item.startswith("{") and post and "201" in post["responses"]:
            reference = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            fields = document["components"]["schemas"][reference.rpartition("/")[2]]["properties"]
            yield item.strip("{}"), collection, {name: field["examples"][0] for name, field in fields.items()}


@pytest.fixture
def world(clean_database: str, tmp_path: Path) -> Iterator[World]:
    world = World(clean_database, tmp_path)
    yield world
    world.close()


@pytest.mark.parametrize("headers", [{}, ADMIN], ids=["nobody", "admin"])
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: f"{mode.value} requests")
def test_every_answer_is_one_that_the_document_describes(
    world: World, headers: dict[str, str], mode: GenerationMode
) -> None:
    operations = _operations(world.app)
    assert len(operations) > 30
    wrong = {
        operation.label: complaint for operation in operations if (complaint := _tried(operation, world, headers, mode))
    }
    assert not wrong, "\n\n".join(f"{label}\n{complaint}" for label, complaint in wrong.items())


def _operations(app: Flask) -> list[APIOperation[Any, Any, Any, Any]]:
    operations = []
    for found in schemathesis.openapi.from_wsgi("/openapi.json", app).get_all_operations():
        assert isinstance(found, Ok), found
        operations.append(found.ok())
    return operations


def _tried(
    operation: APIOperation[Any, Any, Any, Any], world: World, headers: dict[str, str], mode: GenerationMode
) -> str:
    """What is wrong with the operation, "" for nothing."""

    @settings(
        max_examples=6,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
    def ask(case: Case[Any], known: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        if known:  # an id out of the blue meets only 404
            case.path_parameters.update({name: world.ids[name] for name in case.path_parameters if name in world.ids})
        case.call_and_validate(headers=headers, checks=CHECKS)

    try:
        ask()
    except Unsatisfiable:  # nothing that the document forbids can be sent there
        return ""
    except Exception as complaint:  # noqa: BLE001 - of whatever kind, it belongs to this operation
        return str(complaint)
    return ""
