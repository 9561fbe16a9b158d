"""What is written in our own way is what py-amqp would have written."""

from __future__ import annotations

from typing import Any

import amqp
import pytest

from tasks.frames import Content, Fields

_SAME = {"lang": "py", "task": "users.create_user", "retries": 0, "timelimit": [None, None], "parent_id": None}
_OWN = {"id": "0190", "kwargsrepr": "{'name': 'Ünal'}", "envelope": {"ip": "::1", "waiting": True, "attempts": 2}}


@pytest.mark.parametrize(
    "properties",
    [
        {"content_type": "application/json", "content_encoding": "utf-8", "headers": _OWN, "correlation_id": "0190"},
        {"content_type": "application/cloudevents+json", "content_encoding": "utf-8", "message_id": "0190"},
        {},
    ],
)
@pytest.mark.parametrize("same", [_SAME, {}])
def test_properties_are_encoded_as_by_the_library(properties: dict[str, Any], same: dict[str, Any]) -> None:
    ours = Content(b"{}", properties, Fields(same))
    headers = {**same, **properties.get("headers", {})}
    others = {name: value for name, value in properties.items() if name != "headers"}
    theirs = amqp.Message(b"{}", delivery_mode=2, application_headers=headers or None, **others)
    assert ours._serialize_properties() == theirs._serialize_properties()  # noqa: SLF001 - watched here
